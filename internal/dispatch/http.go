package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxBody is the most bytes that a parcel's body may have.
	MaxBody = 256 << 10
	// maxAnswer is how much of an answer is read.
	maxAnswer = 64 << 10
)

// client follows no redirects: what is signed, or holds a key, goes where it
// was meant to go and nowhere else.
var client = &http.Client{
	Timeout:       tryFor,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,
	},
}

// post sends JSON and returns what was answered to it. Errors name the host
// and nothing else of the address: the rest may be a secret.
func post(ctx context.Context, address string, body []byte, headers map[string]string) (answer []byte, location string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, "", refuse("The configured address is none.")
	}
	if len(body) > MaxBody {
		return nil, "", refuse("It has %d bytes; at most %d are sent.", len(body), MaxBody)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, "", refuse("The configured address is none.")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "opsbot")
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("%s does not answer: %s", u.Host, reason(err))
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, "", fmt.Errorf("%s broke off its answer: %s", u.Host, reason(err))
	}
	return answer, res.Header.Get("Location"), judge(u.Host, res, answer)
}

// judge makes a status into an error: nil for any success.
func judge(host string, res *http.Response, answer []byte) error {
	code := res.StatusCode
	says := fmt.Sprintf("%s answers %d %s", host, code, http.StatusText(code))
	if text := firstLine(answer); text != "" {
		says += ": " + text
	}
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return refuse("%s sends us elsewhere (%d); the address in the configuration must be the last one.", host, code)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return &Busy{says + ".", retryAfter(res.Header.Get("Retry-After"))}
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return errors.New(says + ".")
	default:
		return refuse("%s.", says)
	}
}

// retryAfter reads seconds or a date; 0: neither.
func retryAfter(v string) time.Duration {
	if s, err := strconv.Atoi(strings.TrimSpace(v)); err == nil && s >= 0 {
		return time.Duration(min(s, 3600)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// reason is the innermost cause: the outer ones repeat the address.
func reason(err error) string {
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time."
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "its name is not known (DNS)."
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error() + "."
}
