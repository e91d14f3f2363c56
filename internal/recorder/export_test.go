package recorder

// PresentCount returns how many participants a recorder holds in memory.
func PresentCount(r *Recorder) int { return len(r.rec.snapshot().present) }
