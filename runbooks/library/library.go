// Package library holds the runbooks that opsbot brings along.
package library

import "embed"

// FS has one Markdown file per runbook.
//
//go:embed *.md
var FS embed.FS
