package deployment

import (
	"context"
	"fmt"
	"io"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// Actions are the actions on the book. They need no connection, and change
// nothing outside of it. Without a book they can only be declared.
func Actions(book Book) []runbooks.Action {
	return []runbooks.Action{record{book}, last{book}}
}

var errNoBook = fault.New(fault.Unavailable, "There is no database to keep deployments in.")

type record struct{ book Book }

type recordArgs struct {
	Service       string `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"what was put into service"`
	ImageID       string `arg:"image_id" required:"true" pattern:"^sha256:[0-9a-f]{64}$" help:"id of the image that runs now, from the system and not from a parameter"`
	Image         string `arg:"image" pattern:"^[^\\s]{0,300}$" help:"the image as it was asked for, with its tag"`
	Digest        string `arg:"digest" pattern:"^[^\\s]{0,300}$" help:"the image's digest in its registry"`
	ConfigHash    string `arg:"config_hash" pattern:"^[0-9a-zA-Z:]{0,128}$" help:"hash of the Compose configuration"`
	MigrationHead string `arg:"migration_head" pattern:"^[^\\s]{0,100}$" help:"where the database's migrations stand"`
	Note          string `arg:"note" pattern:"^[^\\n]{0,300}$" help:"one line for people"`
}

type recordResult struct {
	ID      string `json:"id" help:"as people say it, D7; empty in a dry run, which writes nothing down"`
	Service string `json:"service"`
	ImageID string `json:"image_id"`
}

func (r recordResult) Found() string {
	if r.ID == "" {
		return "not recorded: a dry run puts nothing into service"
	}
	return fmt.Sprintf("%s: %s is %s", r.ID, r.Service, short(r.ImageID))
}

// short is an image's id as Docker shows it.
func short(id string) string {
	if len(id) > 19 {
		return id[7:19]
	}
	return id
}

func (record) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name: "deployment.record", Summary: "Put on record which image a service runs now, with who started the run and when.",
		Timeout: 10 * time.Second, Args: recordArgs{}, Result: recordResult{},
	}
}

func (a record) Run(ctx context.Context, c runbooks.Call, _ io.Writer) (any, error) {
	if a.book == nil {
		return nil, errNoBook
	}
	args := c.Args.(*recordArgs)
	d, err := a.book.Record(ctx, Deployment{
		Run: c.Run, Step: c.Step, Service: args.Service, Image: args.Image, ImageID: args.ImageID, Digest: args.Digest,
		ConfigHash: args.ConfigHash, MigrationHead: args.MigrationHead, Note: args.Note,
	})
	if err != nil {
		return nil, err
	}
	r := recordResult{Service: d.Service, ImageID: d.ImageID}
	if d.Number > 0 {
		r.ID = fmt.Sprint("D", d.Number)
	}
	return r, nil
}

type last struct{ book Book }

type lastArgs struct {
	Service string `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of which service"`
}

type entry struct {
	Found         bool          `json:"found" help:"false if nothing is on record; then the rest is empty"`
	ID            string        `json:"id" help:"as people say it, D7"`
	Image         string        `json:"image"`
	Tag           string        `json:"tag" help:"of the image"`
	ImageID       string        `json:"image_id"`
	Digest        string        `json:"digest"`
	ConfigHash    string        `json:"config_hash"`
	MigrationHead string        `json:"migration_head"`
	At            string        `json:"at" help:"when, in UTC"`
	Age           time.Duration `json:"age"`
	By            string        `json:"by" help:"who started the run"`
	Run           string        `json:"run" help:"the run that wrote it down, as R12"`
}

type lastResult struct {
	Last   entry `json:"last" help:"what was put into service last"`
	Before entry `json:"before" help:"the last one with another image: where a rollback leads"`
}

func (r lastResult) Found() string {
	switch {
	case !r.Last.Found:
		return "nothing is on record"
	case !r.Before.Found:
		return fmt.Sprintf("%s %s of %s; nothing before it", r.Last.ID, named(r.Last), r.Last.At)
	}
	return fmt.Sprintf("%s %s of %s; before it %s %s", r.Last.ID, named(r.Last), r.Last.At, r.Before.ID, named(r.Before))
}

// named is the image as people know it, and by its id.
func named(e entry) string {
	if e.Image == "" {
		return short(e.ImageID)
	}
	return e.Image + " (" + short(e.ImageID) + ")"
}

func (last) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name: "deployment.last", Summary: "Read which image of a service was put into service last in this environment, and which one before it.",
		Timeout: 10 * time.Second, Args: lastArgs{}, Result: lastResult{},
	}
}

func (a last) Run(ctx context.Context, c runbooks.Call, _ io.Writer) (any, error) {
	if a.book == nil {
		return nil, errNoBook
	}
	newest, before, err := a.book.Last(ctx, c.Run, c.Args.(*lastArgs).Service)
	if err != nil {
		return nil, err
	}
	return lastResult{entryOf(newest), entryOf(before)}, nil
}

func entryOf(d *Deployment) entry {
	if d == nil {
		return entry{}
	}
	by := d.By.Name
	if by == "" {
		by = d.By.ID
	}
	return entry{
		Found: true, ID: fmt.Sprint("D", d.Number), Image: d.Image, Tag: d.Tag(), ImageID: d.ImageID, Digest: d.Digest,
		ConfigHash: d.ConfigHash, MigrationHead: d.MigrationHead, At: d.At.UTC().Format("2006-01-02 15:04 MST"),
		Age: time.Since(d.At).Round(time.Second), By: by, Run: fmt.Sprint("R", d.RunNumber),
	}
}
