package docker

import "opsbot/internal/redact"

// clean takes secrets out of a text.
func clean(text string) string { return redact.Secrets(text) }
