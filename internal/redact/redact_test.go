package redact

import (
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://app:p@ss:w0rd@db:5432/bot?x=1":                            "postgres://app:***@db:5432/bot?x=1",
		"redis://:geheim@cache/0":                                             "redis://:***@cache/0",
		"GET http://host:8000/path 200":                                       "GET http://host:8000/path 200",
		"Authorization: Bearer abc.def-ghi":                                   "Authorization: Bearer ***",
		"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln and more":            "token *** and more",
		`{"password": "two words", "user": "app"}`:                            `{"password": ***, "user": "app"}`,
		"DB_PASSWORD=geheim user=app":                                         "DB_PASSWORD=*** user=app",
		"api-key: abc123, next":                                               "api-key: ***, next",
		"xoxb-1234567890-abcdef and AKIAABCDEFGHIJKLMNOP":                     "*** and ***",
		"-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----": "***",
		"request 17 served in 3 ms":                                           "request 17 served in 3 ms",
	} {
		if got := Secrets(text); got != want {
			t.Errorf("Secrets(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzSecrets(f *testing.F) {
	f.Add("postgres://a:b@c/d password=x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "geheim123")
	f.Fuzz(func(t *testing.T, around, secret string) {
		if secret == "" || strings.ContainsAny(secret, " \t\r\n\v\f\"'@,;&})]\\") || strings.ToValidUTF8(secret, "") != secret || strings.Contains(around, secret) || strings.Contains("***", secret) {
			return
		}
		for _, line := range []string{"password=" + secret, "PG_PASSWORD: " + secret} {
			if got := Secrets(line); strings.Contains(got[len("password=")-1:], secret) {
				t.Errorf("Secrets(%q) = %q", line, got)
			}
		}
		Secrets(around)
	})
}
