package slacksim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxBody is the largest request body that is read; policy, since Slack states
// no number. A view may have 250 KB and blocks.validate takes 100,000
// characters.
const maxBody = 1 << 20

// A request is one Web API call as Slack understands it.
type request struct {
	method   string
	fact     *methodFact
	token    string
	args     map[string]string // JSON values other than strings as their JSON text
	wasJSON  map[string]bool   // arguments that came as a JSON array or object
	post     bool
	warnings []string
	lenient  bool // response_url payloads: no token, no scope, no rate
}

// get returns an argument, empty when absent.
func (r *request) get(name string) string { return r.args[name] }

// has reports whether an argument was given, be it empty.
func (r *request) has(name string) bool { _, ok := r.args[name]; return ok }

// flag reports whether a boolean argument is true.
func (r *request) flag(name string) bool {
	v := r.args[name]
	return v == "true" || v == "1" || v == "True"
}

// parseRequest reads the arguments of a Web API call. The error string is
// Slack's, empty when the request can be understood. Source: slack.md §2.1.
func parseRequest(method string, fact *methodFact, hr *http.Request) (*request, string) {
	r := &request{method: method, fact: fact, args: map[string]string{}, wasJSON: map[string]bool{}, post: hr.Method == http.MethodPost}
	query, err := url.ParseQuery(hr.URL.RawQuery)
	if err != nil {
		return r, "invalid_form_data"
	}
	r.addForm(query)
	delete(r.args, "token") // in the query string a token is refused
	if auth := hr.Header.Get("Authorization"); len(auth) > 7 && strings.EqualFold(auth[:7], "bearer ") {
		r.token = strings.TrimSpace(auth[7:])
	}
	if !r.post {
		if hr.Method != http.MethodGet {
			return r, "invalid_post_type"
		}
		return r, ""
	}
	body, err := io.ReadAll(io.LimitReader(hr.Body, maxBody+1))
	if err != nil {
		return r, "request_timeout"
	}
	if len(body) > maxBody {
		return r, "invalid_form_data"
	}
	return r, r.parseBody(hr.Header.Get("Content-Type"), body)
}

// parseBody reads the arguments of a POST body.
func (r *request) parseBody(contentType string, body []byte) string {
	if len(body) == 0 {
		return ""
	}
	if contentType == "" {
		return "missing_post_type"
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "invalid_post_type"
	}
	charset, hasCharset := params["charset"]
	if hasCharset && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "iso-8859-1") {
		return "invalid_charset"
	}
	switch media {
	case "application/json":
		if !hasCharset {
			r.warnings = append(r.warnings, "missing_charset")
		}
		if !r.fact.JSON {
			return "" // the arguments are not seen at all
		}
		return r.addJSON(body)
	case "application/x-www-form-urlencoded":
		if hasCharset {
			r.warnings = append(r.warnings, "superfluous_charset")
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return "invalid_form_data"
		}
		r.addForm(form)
	case "multipart/form-data":
		hr := http.Request{Method: http.MethodPost, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body))}
		if err := hr.ParseMultipartForm(maxBody); err != nil {
			return "invalid_form_data"
		}
		r.addForm(hr.MultipartForm.Value)
		if err := hr.MultipartForm.RemoveAll(); err != nil {
			return "internal_error"
		}
	case "text/plain": // allowed, but it carries nothing
	default:
		return "invalid_post_type"
	}
	if t, ok := r.args["token"]; ok {
		if r.token == "" {
			r.token = t
		}
		delete(r.args, "token")
	}
	return ""
}

func (r *request) addForm(form url.Values) {
	for name, values := range form {
		if len(values) > 0 {
			r.args[name] = values[len(values)-1]
		}
	}
}

// addJSON reads a JSON object. Its token attribute is not a token.
func (r *request) addJSON(body []byte) string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			return "json_not_object"
		}
		return "invalid_json"
	}
	if fields == nil { // null
		return "json_not_object"
	}
	for name, raw := range fields {
		if name == "token" {
			continue
		}
		switch raw[0] {
		case '"':
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return "invalid_json"
			}
			r.args[name] = text
		case 'n':
			// null is the same as leaving the argument out
		case '{', '[':
			var compact bytes.Buffer
			if err := json.Compact(&compact, raw); err != nil {
				return "invalid_json"
			}
			r.args[name] = compact.String()
			r.wasJSON[name] = true
		default:
			r.args[name] = string(raw)
		}
	}
	return ""
}

// structured are the arguments that take JSON; any other must be plain.
var structured = map[string]bool{
	"attachments": true, "blocks": true, "chunks": true, "files": true, "file_ids": true,
	"message": true, "metadata": true, "unfurled_attachments": true, "view": true,
	"channels": true, "users": true, // clients send lists of IDs as arrays too
}

// checkArgs holds the arguments to what the reference says of them, and
// returns one message for each that breaks it.
func (r *request) checkArgs() []string {
	var wrong []string
	for _, name := range r.fact.Required {
		if !r.has(name) {
			wrong = append(wrong, "missing required field: "+name)
		}
	}
	for name, fact := range r.fact.Args {
		value, given := r.args[name]
		if !given {
			continue
		}
		at := " [json-pointer:/" + name + "]"
		if r.wasJSON[name] && !structured[name] {
			wrong = append(wrong, "must be a string"+at)
			continue
		}
		if n := len([]rune(value)); fact.MaxLength > 0 && n > fact.MaxLength {
			wrong = append(wrong, "must be less than "+strconv.Itoa(fact.MaxLength+1)+" characters"+at)
		}
		if len(fact.Enum) > 0 && value != "" && !slices.Contains(fact.Enum, value) {
			wrong = append(wrong, "must be a valid enum value"+at)
		}
		if fact.integer && value != "" {
			n, err := strconv.Atoi(value)
			switch {
			case err != nil:
				wrong = append(wrong, "must be an integer"+at)
			case fact.Minimum != nil && n < *fact.Minimum:
				wrong = append(wrong, "must be greater than "+strconv.Itoa(*fact.Minimum-1)+at)
			case fact.Maximum != nil && n > *fact.Maximum:
				wrong = append(wrong, "must be less than "+strconv.Itoa(*fact.Maximum+1)+at)
			}
		}
	}
	return wrong
}
