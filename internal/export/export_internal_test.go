package export

// WithMaxFiles returns o with another limit of the contents of streams that are objects.
func (o Options) WithMaxFiles(n int) Options {
	o.maxFiles = n
	return o
}
