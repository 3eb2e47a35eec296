package config

import (
	"errors"
	"maps"
	"net"
	"net/url"
	"slices"
	"unicode/utf8"
)

// A Pager is a way to call people to an incident. Exactly one of PagerDuty and
// Webhook is set.
type Pager struct {
	PagerDuty    Secret `yaml:"pagerduty"`     // routing key of an Events API v2 integration
	PagerDutyURL string `yaml:"pagerduty_url"` // another region's address; "": the usual one
	Webhook      string `yaml:"webhook"`       // address that pages are posted to
	Secret       Secret `yaml:"secret"`        // signs what is posted to Webhook
	Escalation   bool   `yaml:"escalation"`    // called by itself when nobody takes command
}

// Status says how the public hears of incidents. The zero value: by the feed
// alone, under the name "Status".
type Status struct {
	Title    string             `yaml:"title"`    // of the feed
	URL      string             `yaml:"url"`      // where people read it; "": the feed itself
	Channels []string           `yaml:"channels"` // of Slack
	Webhooks map[string]Webhook `yaml:"webhooks"`
}

// A Webhook is an address that updates are posted to.
type Webhook struct {
	URL    string `yaml:"url"`
	Secret Secret `yaml:"secret"` // signs what is posted
}

func (c *Config) checkPlaces(bad func(path, format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(c.Pagers)) {
		p, path := c.Pagers[name], "pagers."+name
		if !nameRule.MatchString(name) {
			bad(path, "the pager's name %q must be lower case letters, digits, - and _", name)
		}
		switch {
		case p.PagerDuty.IsZero() == (p.Webhook == ""):
			bad(path, "the pager %q needs exactly one of pagerduty (a routing key) and webhook (an address)", name)
		case p.Webhook == "" && !p.Secret.IsZero():
			bad(path+".secret", "secret signs what is posted to a webhook, and there is none")
		case p.Webhook != "" && p.PagerDutyURL != "":
			bad(path+".pagerduty_url", "pagerduty_url is for pagerduty, and there is none")
		}
		if err := checkPostURL(p.Webhook); p.Webhook != "" && err != nil {
			bad(path+".webhook", "the pager %q: %s", name, err)
		}
		if err := checkPostURL(p.PagerDutyURL); p.PagerDutyURL != "" && err != nil {
			bad(path+".pagerduty_url", "the pager %q: %s", name, err)
		}
	}
	if n := utf8.RuneCountInString(c.Status.Title); n > 100 {
		bad("status.title", "status.title has %d characters; at most 100 fit", n)
	}
	if u, err := url.Parse(c.Status.URL); c.Status.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		bad("status.url", "status.url is an address such as https://status.example.com")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Status.Webhooks)) {
		path := "status.webhooks." + name
		if !nameRule.MatchString(name) {
			bad(path, "the webhook's name %q must be lower case letters, digits, - and _", name)
		}
		if err := checkPostURL(c.Status.Webhooks[name].URL); err != nil {
			bad(path, "the webhook %q: %s", name, err)
		}
	}
}

// checkPostURL says why nothing can be posted to an address. Only this machine
// is reached without TLS, and a password has no place in an address.
func checkPostURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("its address is none such as https://host/path")
	case u.User != nil:
		return errors.New("a user or password does not belong into its address")
	case u.Fragment != "":
		return errors.New("an address with # cannot be posted to")
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		return errors.New("its address must be https, unless it is on this machine")
	}
	return nil
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// anchorPlaces says where the files of secrets are looked for.
func (c *Config) anchorPlaces(dir string) {
	for name, p := range c.Pagers {
		p.PagerDuty.dir, p.Secret.dir = dir, dir
		c.Pagers[name] = p
	}
	for name, w := range c.Status.Webhooks {
		w.Secret.dir = dir
		c.Status.Webhooks[name] = w
	}
}
