package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"opsbot/incidents"
	"opsbot/incidents/outreach"
	"opsbot/internal/config"
	"opsbot/internal/dispatch"
	"opsbot/internal/fault"
	"opsbot/internal/feed"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
)

// maxPublic is how many updates the status feed is made from, the newest.
const maxPublic = 300

// carriers resolves the secrets of every pager and webhook that is configured.
// A secret that cannot be had ends the start: a page that cannot be sent is
// better found now.
func carriers(ctx context.Context, cfg *config.Config, queue outbox.Queue, link func(context.Context, outbox.Conversation) string) (map[string]dispatch.Carrier, error) {
	out := map[string]dispatch.Carrier{}
	var errs []error
	resolve := func(key string, s config.Secret) string {
		v, err := s.Resolve(ctx)
		if err != nil {
			errs = append(errs, fault.New(fault.Invalid, "The secret %s: %s.", key, err))
		}
		return v
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Pagers)) {
		p, place := cfg.Pagers[name], outreach.PagerPlace+name
		if p.Webhook != "" {
			out[place] = dispatch.Webhook{URL: p.Webhook, Secret: resolve(place+".secret", p.Secret)}
			continue
		}
		out[place] = dispatch.PagerDuty{URL: p.PagerDutyURL, RoutingKey: resolve(place+".pagerduty", p.PagerDuty)}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Status.Webhooks)) {
		w, place := cfg.Status.Webhooks[name], outreach.WebhookPlace+name
		out[place] = dispatch.Webhook{URL: w.URL, Secret: resolve(place+".secret", w.Secret)}
	}
	for _, channel := range cfg.Status.Channels {
		out[outreach.ChannelPlace+channel] = outreach.Channel{Name: named(channel), Outbox: queue, Link: link}
	}
	return out, errors.Join(errs...)
}

// newOffice returns what tells people outside of incidents' rooms, and the
// dispatcher that it works with.
func newOffice(ctx context.Context, cfg *config.Config, db *store.Store, tracker *incidents.Tracker, link func(context.Context, outbox.Conversation) string, log *slog.Logger) (*outreach.Office, *dispatch.Dispatcher, error) {
	c, err := carriers(ctx, cfg, db.Outbox(), link)
	if err != nil {
		return nil, nil, err
	}
	o := &outreach.Office{Store: db.Outreach(), Tracker: tracker, Parcels: db.Parcels(), Feed: cfg.HTTP.Addr != "", Log: log}
	for _, name := range slices.Sorted(maps.Keys(cfg.Pagers)) {
		if cfg.Pagers[name].Escalation {
			o.Escalate = append(o.Escalate, outreach.PagerPlace+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Status.Webhooks)) {
		o.Places = append(o.Places, outreach.WebhookPlace+name)
	}
	for _, channel := range cfg.Status.Channels {
		o.Places = append(o.Places, outreach.ChannelPlace+channel)
	}
	return o, &dispatch.Dispatcher{Queue: db.Parcels(), Carriers: c, Tell: o.Tell, Log: log}, nil
}

// statusFeed serves what the public was told.
func statusFeed(cfg *config.Config, db *store.Store, log *slog.Logger) *feed.Server {
	return &feed.Server{Log: log, Source: func(ctx context.Context) (feed.Feed, error) {
		list, err := db.Outreach().Public(ctx, maxPublic)
		return feed.Feed{Title: cfg.Status.Title, URL: cfg.Status.URL, Incidents: list}, err
	}}
}
