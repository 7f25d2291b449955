package service

// Signal leaves a notification in a channel of capacity 1, where one may lie already: one is enough for whoever
// receives it and then looks at what there is. It does not wait.
func Signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
