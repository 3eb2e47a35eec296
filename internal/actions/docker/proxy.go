package docker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
)

const (
	// settleWithin is how long old workers may still answer after a reload.
	settleWithin = 20 * time.Second
	probeTimeout = 5 * time.Second
	// maxUpstreamFile is far above the one block that the file holds.
	maxUpstreamFile = 64 << 10
)

var serverLine = regexp.MustCompile(`(?m)^\s*server\s+([A-Za-z0-9._-]+)(?::\d+)?[^;]*;`)

// text is the proxy's upstream file for one name of the network.
func (n *Nginx) text(host string) string {
	return fmt.Sprintf("# Written by opsbot's nginx.switch.\nupstream %s {\n    server %s:%d;\n}\n", n.Upstream, host, n.Port)
}

// read returns the present file; nil if there is none yet.
func (n *Nginx) read() ([]byte, error) {
	f, err := os.Open(n.File)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "The proxy's upstream file %s cannot be read.", n.File).Hinted("Is its folder mounted here, at the same path?").Because(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxUpstreamFile))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "The proxy's upstream file %s cannot be read.", n.File).Because(err)
	}
	return text, nil
}

// write replaces the file as a whole: a reload in the same moment reads the old
// or the new one. With nil it removes it.
func (n *Nginx) write(text []byte) error {
	fail := func(err error) error {
		return fault.New(fault.Unavailable, "The proxy's upstream file %s cannot be written.", n.File).
			Hinted("Its folder has to exist here, be mounted into the proxy, and be writable for opsbot.").Because(err)
	}
	if text == nil {
		if err := os.Remove(n.File); err != nil && !os.IsNotExist(err) {
			return fail(err)
		}
		return nil
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(n.File); err == nil {
		mode = info.Mode().Perm()
	}
	// In the same folder: a rename does not leave its file system, and nginx
	// includes no name that begins with a dot.
	f, err := os.CreateTemp(filepath.Dir(n.File), ".opsbot-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = cmp.Or(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), n.File)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// hosts are the names that the file sends traffic to.
func hosts(text []byte) []string {
	var list []string
	for _, m := range serverLine.FindAllSubmatch(text, -1) {
		list = append(list, string(m[1]))
	}
	return list
}

// colorOf says whose traffic a file is: blue, green, none or other.
func (c *Conn) colorOf(ctx context.Context, text []byte) (string, error) {
	names := hosts(text)
	if len(names) == 0 {
		return "none", nil
	}
	if !slices.ContainsFunc(names, func(h string) bool { return h != c.config.Nginx.Of }) {
		return blue, nil
	}
	list, err := c.boxes(ctx, c.config.Nginx.Of)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(list, func(b box) bool { return b.color == green && b.answersTo(names[0]) }) {
		return green, nil
	}
	return "other", nil
}

// greenServing is the green instance of a service that the proxy sends traffic
// to, by its file; nil if blue serves. Whether it runs is another question.
func (c *Conn) greenServing(service string, all []box) (*box, error) {
	n := c.config.Nginx
	if n == nil || n.Of != service {
		return nil, nil
	}
	greens := slices.DeleteFunc(slices.Clone(all), func(b box) bool { return b.service != service || b.color != green })
	if len(greens) == 0 {
		return nil, nil // the file does not matter, and need not be there
	}
	text, err := n.read()
	if err != nil {
		return nil, err
	}
	names := hosts(text)
	if i := slices.IndexFunc(greens, func(b box) bool { return slices.ContainsFunc(names, b.answersTo) }); i >= 0 {
		return &greens[i], nil
	}
	return nil, nil
}

// serves reports whether a green instance gets the traffic, as far as is known:
// where no proxy is, it may.
func (c *Conn) serves(b box, all []box) (bool, error) {
	if n := c.config.Nginx; n == nil || n.Of != b.service {
		return true, nil
	}
	g, err := c.greenServing(b.service, all)
	return g != nil && g.ID == b.ID, err
}

// onlyBlue refuses what would bring blue up beside a green instance that serves.
func (c *Conn) onlyBlue(action string, services []string, all []box) error {
	for _, service := range services {
		g, err := c.greenServing(service, all)
		if err != nil {
			return err
		}
		if g != nil {
			return fault.New(fault.Conflict, "%s would bring up an older %s beside the green instance that serves (%s, %s).", action, service, g.name(), g.Config.Image).
				Hinted("%s docker.start and docker.restart mean green as long as it serves.", g.finish())
		}
	}
	return nil
}

// finish says how a blue-green deployment is finished whose green instance this is.
func (b box) finish() string {
	tag := tagOf(b.Config.Image)
	if tag == "" {
		tag = "its tag"
	}
	return fmt.Sprintf("Finish the blue-green deployment first: run fresh-deployment with image_tag=%s.", tag)
}

// proxies are the running containers of the proxy.
func (c *Conn) proxies(ctx context.Context) ([]box, error) {
	list, err := c.of(ctx, c.config.Nginx.Service, blue)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(b box) bool { return !b.State.Running || b.State.Restarting })
	if len(list) == 0 {
		return nil, fault.New(fault.Conflict, "The proxy %s does not run.", c.config.Nginx.Service).Hinted("Start it first.")
	}
	for _, b := range list {
		for _, m := range b.Mounts {
			if m.Source == c.config.Nginx.File {
				return nil, fault.New(fault.Invalid, "%s is mounted into the proxy as a single file, which never sees a new one.", m.Source).
					Hinted("Mount its folder instead.")
			}
		}
	}
	return list, mayTouch(list)
}

// reload lets nginx test its configuration and take it over. A reload of a bad
// one reports success and keeps the old one, so the test comes first.
func (c *Conn) reload(ctx context.Context, proxies []box, out io.Writer) error {
	for _, b := range proxies {
		text := new(lineTail)
		code, err := c.execIn(ctx, b, Process{Argv: testArgv(b), Stdout: text, Stderr: text})
		if err != nil {
			return err
		}
		text.flush()
		for _, line := range text.lines {
			fmt.Fprintln(out, line)
		}
		if code != 0 {
			i := slices.IndexFunc(text.lines, func(l string) bool { return strings.Contains(l, "[emerg]") })
			return fault.New(fault.Conflict, "nginx refuses its configuration.").Hinted("It said: %s", clip(text.lines[max(i, 0):][0], 300))
		}
	}
	for _, b := range proxies {
		if err := c.client.ContainerKill(ctx, b.ID, "SIGHUP"); err != nil {
			return c.explain("reload "+b.name(), err)
		}
	}
	return nil
}

// testArgv tests the very configuration that the container's nginx was started
// with.
func testArgv(b box) []string {
	argv := []string{"nginx", "-t"}
	was := append(slices.Clone([]string(b.Config.Entrypoint)), b.Config.Cmd...)
	for i, word := range was[:max(0, len(was)-1)] {
		if word == "-c" || word == "-p" {
			argv = append(argv, word, was[i+1])
		}
	}
	return argv
}

// reloadProxy lets the proxy look up the addresses of a service anew, if it is
// the one behind it: it keeps those of containers that are gone, and another
// container may have got them.
func (c *Conn) reloadProxy(ctx context.Context, services []string, out io.Writer) error {
	if c.config.Nginx == nil || !slices.Contains(services, c.config.Nginx.Of) {
		return nil
	}
	list, err := c.boxes(ctx, c.config.Nginx.Service)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(b box) bool { return !b.State.Running || b.State.Restarting })
	if len(list) == 0 {
		return nil // it will look when it starts
	}
	if err := c.reload(ctx, list, out); err != nil {
		return fault.New(fault.Conflict, "%s is up, but the proxy %s could not look up its new addresses.", c.config.Nginx.Of, c.config.Nginx.Service).
			Hinted("%s", fault.Say(err)).Because(err)
	}
	fmt.Fprintf(out, "reloaded %s, which looks up the addresses of %s anew\n", c.config.Nginx.Service, c.config.Nginx.Of)
	return nil
}

// prove asks the proxy over new connections until so many answers in a row come
// from the right instances. It returns who answered these, or at last.
func (c *Conn) prove(ctx context.Context, probes int, right func(string) bool) (map[string]int, error) {
	n := c.config.Nginx
	header := cmp.Or(n.Header, "X-Instance")
	hc := &http.Client{
		Timeout: probeTimeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	until := time.Now().Add(settleWithin)
	for {
		seen, wrong := map[string]int{}, ""
		for range probes {
			who, err := c.ask(ctx, hc, header)
			switch {
			case ctx.Err() != nil:
				return seen, ctx.Err()
			case err != nil:
				wrong = clip(err.Error(), 200)
			case !right(who):
				wrong = "an answer came from " + clip(cmp.Or(who, "one without "+header), 80)
			default:
				seen[who]++
				continue
			}
			break
		}
		if wrong == "" {
			return seen, nil
		}
		if time.Now().After(until) {
			return seen, fault.New(fault.Conflict, "%s does not answer as it should after the switch.", n.URL).Hinted("The last time %s.", wrong)
		}
		select {
		case <-ctx.Done():
			return seen, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// ask makes one request over a new connection.
func (c *Conn) ask(ctx context.Context, hc *http.Client, header string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.config.Nginx.URL, nil)
	if err != nil {
		return "", err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return "", fmt.Errorf("nobody answered: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode >= 500 {
		return "", fmt.Errorf("the answer was %s", resp.Status)
	}
	return resp.Header.Get(header), nil
}
