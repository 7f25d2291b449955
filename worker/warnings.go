package worker

// warnings says what is wrong with the internal topics though the worker can work with them.
func (p *parts) warnings() []string { return nil }
