// Package library holds the runbooks that opsbot brings along.
package library

import "embed"

// FS has one Markdown file per runbook, and beside each the tests of it.
//
//go:embed *.md *.test.yaml
var FS embed.FS
