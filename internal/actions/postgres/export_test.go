package postgres

// AgeSightings makes every session that a preview showed an older one, as if
// its pid had got to another session since.
func AgeSightings(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, seen := range c.seen {
		for i := range seen {
			seen[i].started = "2001-01-01 00:00:00+00"
		}
	}
}
