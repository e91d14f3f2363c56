package export

// MaxFiles is how many contents of streams are objects.
const MaxFiles = maxFiles
