package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"opsbot/commands"
	"opsbot/incidents"
	"opsbot/internal/access"
	"opsbot/internal/config"
	"opsbot/internal/fault"
	"opsbot/internal/store"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// An app is what serve, demo and run have in common: an open database, the
// runbooks, the systems they work on, and an engine over all of it.
type app struct {
	library *runbooks.Library
	engine  *engine.Engine
	tracker *incidents.Tracker
	router  *commands.Router
	systems *systems
}

// openApp opens everything that needs no Slack. people answers who is in a
// Slack user group.
func openApp(ctx context.Context, c *common, cfg *config.Config, db *store.Store, people access.Directory, log *slog.Logger, registry *prometheus.Registry) (*app, error) {
	catalog, err := newCatalog(db.Deployments())
	if err != nil {
		return nil, err
	}
	if err := foldersExist(cfg.Runbooks); err != nil {
		return nil, err
	}
	library, problems := loadLibrary(cfg, catalog)
	if err := problems.Err(); err != nil {
		return nil, exit{exitUsage, fmt.Errorf("the runbooks have errors; nothing was started:\n%w", err)}
	}
	// What does not fit to this server concerns one runbook, not all of them:
	// a start of it is refused with the reason.
	for _, p := range append(problems, library.Check(serverOf(ctx, cfg))...) {
		log.Warn("runbook", "problem", p.String())
	}
	for _, name := range slices.Concat(cfg.Incidents.Triage, cfg.Incidents.Verify) {
		if _, ok := library.Find(name); !ok {
			log.Warn("incidents offer a runbook that does not exist", "runbook", name)
		}
	}
	systems, err := openSystems(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	out := &app{library: library, systems: systems}
	tracker := newTracker(cfg, db, people, out.runbook, log)
	*out = app{
		library: library, systems: systems, tracker: tracker,
		engine: engine.New(engine.Options{
			Store: db.Runs(), Schedules: db.Schedules(), Deployments: db.Deployments(), Library: library, Catalog: catalog, Environments: systems.environments,
			People: people, Policy: policyOf(cfg), Guardian: commands.Guardian{Incidents: tracker}, Log: log, Observe: c.observe,
		}),
	}
	out.router = &commands.Router{
		Runs: out.engine, Incidents: tracker, Postmortems: db.Postmortems(), Pages: db.Parcels(), Pagers: slices.Sorted(maps.Keys(cfg.Pagers)),
	}
	return out, nil
}

// runbook is the title of the runbook with the name, if it can be run on any
// environment.
func (a *app) runbook(name string) (title string, ok bool) {
	rb, found := a.engine.Library().Find(name)
	if !found || a.engine.Lacking(rb) != "" {
		return "", false
	}
	return rb.Title, true
}

func (a *app) Close() error { return a.systems.Close() }

// openDatabase opens the configured database for acting on it. It returns a
// *store.OwnedError when another process owns it.
func openDatabase(ctx context.Context, cfg *config.Config, log *slog.Logger) (*store.Store, error) {
	db, err := store.Open(ctx, cfg.Database, store.Options{Log: log})
	if err != nil {
		return nil, err
	}
	log.Debug("database open", "database", config.WithoutPassword(cfg.Database))
	return db, nil
}

// policyOf translates the configuration's groups and floors.
func policyOf(cfg *config.Config) access.Policy {
	p := access.Policy{Groups: map[string]access.Group{}, Review: &access.Floor{Destructive: 1, DestructiveCritical: 2}}
	for name, g := range cfg.Groups {
		p.Groups[name] = access.Group{Usergroup: g.Usergroup, Users: g.Users}
	}
	if n := cfg.Policy.Review.Destructive; n != nil {
		p.Review.Destructive = *n
	}
	if n := cfg.Policy.Review.DestructiveCritical; n != nil {
		p.Review.DestructiveCritical = *n
	}
	p.Approvers = cfg.Policy.Review.By
	if g := cfg.Policy.BreakGlass; g != nil {
		p.Glass = &access.Glass{By: g.By, Channel: g.Channel}
	}
	return p
}

// newLog returns the program's own log.
func newLog(w io.Writer, l config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); l.Level != "" && err != nil {
		level = slog.LevelInfo // config has checked it
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration { // JSON has it in nanoseconds, which nobody reads
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// atDesk opens a desk for one command and closes it afterwards. With an SQLite
// database that has an owner, the desk is the owner's; without one, a command
// that acts becomes the owner for as long as it takes, and one that only looks
// opens the file read-only. With PostgreSQL the desk is this process's own.
func (c *common) atDesk(ctx context.Context, acts bool, work func(context.Context, desk) error) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	file, lite := strings.CutPrefix(cfg.Database, "sqlite:")
	if lite {
		d, err := dialDesk(store.Socket(file))
		if err == nil {
			defer d.Close()
			return work(ctx, d)
		}
		if errors.Is(err, os.ErrPermission) {
			return fault.New(fault.Forbidden, "The opsbot that owns %s runs under another account, and its socket is open to that account alone.", file).
				Hinted("Work under that account, or use the buttons in Slack. With PostgreSQL each account can work on its own.").Because(err)
		}
	}
	log := newLog(c.std.Err, config.Log{Level: "error", Format: "text"})
	if lite && !acts {
		db, err := openRecords(ctx, cfg.Database)
		if err != nil {
			return err
		}
		defer db.Close()
		return c.atLocalDesk(ctx, cfg, db, log, false, work)
	}
	db, err := openDatabase(ctx, cfg, log)
	var owned *store.OwnedError
	if errors.As(err, &owned) {
		return fault.New(fault.Unavailable, "Another opsbot owns %s and does not answer on its socket.", owned.File).
			Hinted("It may be starting or stopping: try again in a moment.").Because(err)
	}
	if err != nil {
		return err
	}
	defer db.Close()
	return c.atLocalDesk(ctx, cfg, db, log, acts, work)
}

// atLocalDesk works on an engine of this process; when it acts, the engine
// serves meanwhile, and so does the socket for a second person's terminal.
func (c *common) atLocalDesk(ctx context.Context, cfg *config.Config, db *store.Store, log *slog.Logger, acts bool, work func(context.Context, desk) error) error {
	if !acts { // looking needs no systems, and none of their secrets
		looks := *cfg
		looks.Environments, looks.Slack = nil, config.Slack{}
		cfg = &looks
	}
	people, err := directoryOf(ctx, cfg, db, log)
	if err != nil {
		return err
	}
	a, err := openApp(ctx, c, cfg, db, people, log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer a.Close()
	who := identities{unix: cfg.Identities.Unix}
	actor, why := who.self()
	d := &localDesk{a.engine, a.tracker, a.router, actor, why}
	if !acts {
		return work(ctx, d)
	}
	services := []service{{"database", db.Serve}, {"engine", a.engine.Serve}}
	if file, lite := strings.CutPrefix(cfg.Database, "sqlite:"); lite {
		if control, err := listenControl(store.Socket(file), a.engine, a.tracker, a.router, who); err == nil {
			services = append(services, service{"control socket", control.Serve})
		} else {
			log.Warn("no other terminal can work with this one", "error", err)
		}
	}
	var result error
	services = append(services, service{"terminal", func(stop context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		result = work(ctx, d)
		return nil
	}})
	if err := serveAll(ctx, services...); err != nil && result == nil {
		return err
	}
	return result
}
