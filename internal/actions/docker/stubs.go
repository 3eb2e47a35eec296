package docker

type compose struct{}

func newCompose(Config) *compose            { return nil }
func (c *Conn) explain(string, error) error { return nil }
func (s Service) trouble() string           { return "" }
