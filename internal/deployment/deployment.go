// Package deployment keeps on record what was put into service, by whom and
// when, and lets runbooks write it down and ask for it.
package deployment

import (
	"context"
	"strings"
	"time"

	"opsbot/internal/access"
)

// A Deployment is an image that was put into service.
type Deployment struct {
	Number        int64        `json:"number"` // given by the book; people say D7
	Environment   string       `json:"environment"`
	Service       string       `json:"service"`
	Image         string       `json:"image,omitempty"` // as it was asked for: registry/app:1.4
	ImageID       string       `json:"image_id"`        // sha256:…, of the image that runs
	Digest        string       `json:"digest,omitempty"`
	ConfigHash    string       `json:"config_hash,omitempty"`    // of the Compose configuration
	MigrationHead string       `json:"migration_head,omitempty"` // of the database's schema
	Note          string       `json:"note,omitempty"`
	At            time.Time    `json:"at"`
	By            access.Actor `json:"by"`         // who started the run
	Run           string       `json:"run"`        // id
	RunNumber     int64        `json:"run_number"` // people say R12
	Runbook       string       `json:"runbook"`    // slug
	Step          string       `json:"step"`       // that wrote it down
}

// Tag is the part of the image behind its last colon: "1.4" of
// "registry:5000/app:1.4". It is "" for an image without a tag.
func (d Deployment) Tag() string {
	name, _, _ := strings.Cut(d.Image, "@")
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.Contains(name[i:], "/") {
		return ""
	}
	return name[i+1:]
}

// A Query selects deployments. Zero fields do not restrict.
type Query struct {
	Environment string
	Service     string
	Limit       int // at most 200; 0: 20
}

// A Book keeps deployments. Every method is one transaction.
type Book interface {
	// Record writes down what a step of a run put into service, once: a step
	// that is done again finds what it wrote. Number, Environment, At, By,
	// RunNumber and Runbook are the book's to fill in. Nothing is written for a
	// dry run; then the Number is 0.
	Record(ctx context.Context, d Deployment) (*Deployment, error)
	// Last returns the newest deployment of the service in the run's
	// environment, and the newest one before it that had another image; nil
	// where there is none.
	Last(ctx context.Context, run, service string) (last, before *Deployment, err error)
	// List returns deployments, newest first.
	List(ctx context.Context, q Query) ([]Deployment, error)
	// Find returns the deployment that people call D7, or a *fault.Error of
	// kind NotFound.
	Find(ctx context.Context, ref string) (*Deployment, error)
}
