package recorder

// Remembered returns how many participants a recorder holds in memory.
func Remembered(r *Recorder) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.present)
}
