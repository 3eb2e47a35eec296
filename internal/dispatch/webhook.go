package dispatch

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"opsbot/internal/redact"
)

// A Webhook posts each parcel's body to an address.
//
// The receiver can tell that it comes from opsbot, is whole and is new:
//
//	X-Opsbot-Timestamp: unix seconds
//	X-Opsbot-Signature: v1=HEX, HEX being HMAC-SHA256(secret, timestamp + "." + body)
//	Idempotency-Key: the same for every attempt at one parcel
//
// Any 2xx takes the parcel. 408, 425, 429 and 5xx are tried again, anything
// else is final. A link in the answer, {"url": "https://…"} or the header
// Location, is shown to people.
type Webhook struct {
	URL    string
	Secret string // "": nothing is signed
	Now    func() time.Time
}

// Carry posts a parcel.
func (w Webhook) Carry(ctx context.Context, p Parcel) (string, error) {
	headers := map[string]string{"Idempotency-Key": p.Key}
	if w.Secret != "" {
		now := time.Now
		if w.Now != nil {
			now = w.Now
		}
		at := strconv.FormatInt(now().Unix(), 10)
		headers["X-Opsbot-Timestamp"] = at
		headers["X-Opsbot-Signature"] = Sign(w.Secret, at, p.Body)
	}
	answer, location, err := post(ctx, w.URL, p.Body, headers)
	if err != nil {
		return "", err
	}
	var said struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(answer, &said) == nil && said.URL != "" {
		location = said.URL
	}
	return webLink(location), nil
}

// Sign returns the signature of a body that is sent at a time, given in unix
// seconds.
func Sign(secret, at string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}

// webLink returns the link if people can be sent there.
func webLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || len(s) > 2000 {
		return ""
	}
	return u.String()
}

// firstLine is what an answer says, short, on one line, and without secrets.
func firstLine(answer []byte) string {
	var said struct {
		Message string   `json:"message"`
		Error   any      `json:"error"`
		Errors  []string `json:"errors"`
	}
	text := string(answer)
	if json.Unmarshal(answer, &said) == nil {
		parts := append([]string{said.Message}, said.Errors...)
		if e, ok := said.Error.(string); ok {
			parts = append(parts, e)
		}
		text = strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
	} else if strings.HasPrefix(strings.TrimSpace(text), "<") {
		return "" // a web page for people
	}
	text = redact.Secrets(strings.ToValidUTF8(text, ""))
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
	return clip(strings.TrimRight(text, ". "), 200)
}

// clip shortens a text to a number of characters.
func clip(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
