package slacksim

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of uploads. Source: reference of files.getUploadURLExternal; maxFile
// is policy, as a simulator keeps files in memory.
const (
	maxFile    = 16 << 20
	maxSnippet = 1 << 20
	maxAltText = 1000
	maxShares  = 100
)

// An upload is an address that takes the bytes of one file once.
type upload struct {
	file *File
	size int
	done bool
}

// Files lists the uploaded files, oldest first.
func (s *Server) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []File
	for _, id := range s.fileOrder {
		list = append(list, *s.files[id])
	}
	return list
}

// File returns one file by its ID.
func (s *Server) File(id string) (File, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[id]; f != nil {
		return *f, true
	}
	return File{}, false
}

func uploadURL(s *Server, r *request) obj {
	size, err := strconv.Atoi(r.get("length"))
	switch {
	case err != nil || size < 1:
		return refuseArgs("must be greater than 0 [json-pointer:/length]")
	case utf8.RuneCountInString(r.get("alt_txt")) > maxAltText:
		return refuse("alt_txt_too_large")
	case r.get("snippet_type") != "" && size > maxSnippet:
		return refuse("snippet_too_large")
	case size > maxFile:
		return refuse("file_upload_size_restricted")
	}
	f := &File{ID: s.newID("F"), Name: r.get("filename"), Title: r.get("filename"), Size: size, User: s.app.botUserID, AltText: r.get("alt_txt")}
	s.files[f.ID] = f
	s.fileOrder = append(s.fileOrder, f.ID)
	path := "/upload/v1/" + s.random(32)
	s.uploads[path] = &upload{file: f, size: size}
	return obj{"ok": true, "upload_url": s.url + path, "file_id": f.ID}
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	f := s.takeFault("upload")
	if !s.delayed(r.Context(), f) {
		return
	}
	if f.refuses() {
		status, _ := f.answer(w.Header())
		http.Error(w, http.StatusText(status), status)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "POST the file", http.StatusMethodNotAllowed)
		return
	}
	content, err := readUpload(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[r.URL.Path]
	switch { // policy: what Slack answers in these cases is not documented
	case u == nil:
		http.Error(w, "no such upload", http.StatusNotFound)
		return
	case u.done:
		http.Error(w, "already uploaded", http.StatusConflict)
		return
	case len(content) != u.size:
		http.Error(w, "expected "+itoa(u.size)+" bytes, got "+itoa(len(content)), http.StatusBadRequest)
		return
	}
	u.done, u.file.Content = true, content
	if _, err := io.WriteString(w, "OK - "+itoa(len(content))); err != nil {
		s.log.Debug("write answer", "door", "upload", "error", err)
	}
}

// readUpload reads a raw body, or the field file of a multipart one.
func readUpload(r *http.Request) ([]byte, error) {
	var from io.Reader = r.Body
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "multipart/form-data" {
		parts, err := r.MultipartReader()
		if err != nil {
			return nil, err
		}
		from = nil
		for from == nil {
			p, err := parts.NextPart()
			if err != nil {
				return nil, errors.New("there is no field named file or filename")
			}
			if p.FileName() != "" || p.FormName() == "file" {
				from = p
			}
		}
	}
	content, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = errors.New("the file is too large")
	}
	return content, err
}

func completeUpload(s *Server, r *request) obj {
	var list []struct{ ID, Title string }
	if raw := r.given("files"); raw == nil || json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return refuseArgs("must provide an array [json-pointer:/files]")
	}
	if r.get("initial_comment") != "" && r.given("blocks") != nil {
		return refuseArgs("must provide only one of `initial_comment` and `blocks`")
	}
	var files []*File
	for _, each := range list {
		f := s.files[each.ID]
		if f == nil || f.Content == nil || f.Complete {
			return refuse("file_not_found")
		}
		files = append(files, f)
	}
	targets := idList(r.get("channels"))
	if id := r.get("channel_id"); id != "" {
		targets = append(targets, id)
	}
	if len(targets) > maxShares {
		return refuse("channels_limit_exceeded")
	}
	var channels []*channel
	for _, id := range targets {
		c := s.channels[id]
		switch {
		case c == nil || (c.kind() != "channels" && !c.has(s.app.botUserID)):
			return refuse("channel_not_found")
		case !c.has(s.app.botUserID):
			return refuse("not_in_channel")
		case c.Archived:
			return refuse("posting_to_channel_denied")
		}
		channels = append(channels, c)
	}
	what, refusal := s.readContent(r, maxPostText)
	if refusal != nil {
		return refusal
	}
	var posts []Message
	for _, c := range channels {
		m := s.appMessage(what)
		m.Text, m.Subtype = r.get("initial_comment"), "file_share"
		if refusal := s.thread(c, r, &m); refusal != nil {
			return refusal
		}
		m.Subtype = "file_share"
		posts = append(posts, m)
	}
	answered := []obj{}
	for i, f := range files {
		f.Complete = true
		if list[i].Title != "" {
			f.Title = list[i].Title
		}
		for _, c := range channels {
			f.Channels = append(f.Channels, c.ID)
		}
		answered = append(answered, obj{"id": f.ID, "title": f.Title})
	}
	// The message comes a moment after the answer, as on Slack.
	s.clock.after(0, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, c := range channels {
			for _, f := range files {
				shown := *f
				shown.Channels = slices.Clone(f.Channels)
				posts[i].Files = append(posts[i].Files, shown)
			}
			s.put(c, posts[i])
		}
	})
	return obj{"ok": true, "files": answered}
}

func fileInfo(s *Server, r *request) obj {
	f := s.files[r.get("file")]
	if f == nil || f.Content == nil {
		return refuse("file_not_found")
	}
	return obj{"ok": true, "file": s.fileJSON(f), "comments": []obj{}, "response_metadata": obj{"next_cursor": ""}}
}

// deleteFile takes a file away. The messages that show it stay, with a tombstone
// in its place. Source: reference of files.delete; that a bot may delete its own
// files only is what cant_delete_file says.
func deleteFile(s *Server, r *request) obj {
	f := s.files[r.get("file")]
	switch {
	case f == nil || f.Content == nil && !f.Deleted:
		return refuse("file_not_found")
	case f.Deleted:
		return refuse("file_deleted")
	case f.User != s.app.botUserID:
		return refuse("cant_delete_file")
	}
	f.Content, f.Deleted = nil, true
	for _, c := range s.channels {
		for _, m := range c.msgs {
			for i := range m.Files {
				if m.Files[i].ID == f.ID {
					m.Files[i] = File{ID: f.ID, User: f.User, Deleted: true}
				}
			}
		}
	}
	s.wake()
	return obj{"ok": true}
}

// serveFile gives the bytes of a file to whoever has the bot token.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/files/"), "/")
	s.mu.Lock()
	f, content := s.files[id], []byte(nil)
	if f != nil {
		content = f.Content
	}
	s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+s.opts.BotToken || content == nil {
		http.NotFound(w, r) // Slack shows a sign-in page instead of the file
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := w.Write(content); err != nil {
		s.log.Debug("write file", "error", err)
	}
}
