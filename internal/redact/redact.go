// Package redact takes secrets out of what programs wrote, before people read it.
package redact

import "regexp"

// secrets are what a program may write into its log and nobody should read in
// a channel. What is found is replaced, its surroundings stay.
var secrets = []struct {
	find *regexp.Regexp
	put  string
}{
	// scheme://user:password@host; the password may hold a colon, not a blank
	{regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@"']*):[^\s"']*@`), "$1:***@"},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(\.[A-Za-z0-9_-]*)?`), "***"}, // a JWT
	{regexp.MustCompile(`\b(xox[a-z]|xapp|ghp|gho|ghs|github_pat|glpat)[-_][A-Za-z0-9_-]{6,}`), "***"},
	{regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`), "***"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}`), "$1$2***"},
	// password=…, "api_key": "…", DB_PASSWORD: …
	{regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)[a-z0-9_.-]*["']?\s*[=:]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&"'})\]]+)`), "$1***"},
	{regexp.MustCompile(`(?is)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), "***"},
}

// Secrets returns the text with "***" in the place of what looks like a secret:
// passwords in URLs and assignments, tokens, private keys. It cannot know a
// secret that stands alone.
func Secrets(text string) string {
	for _, s := range secrets {
		text = s.find.ReplaceAllString(text, s.put)
	}
	return text
}
