package postgres

import "opsbot/runbooks"

// Actions returns the actions of this package. Each has a file of its own.
func Actions() []runbooks.Action {
	return []runbooks.Action{
		ping{},
		query{},
		activity{},
		terminate{},
		slowQueries{},
		explain{},
		tables{},
		tableSizes{},
		lookIndex{},
		createIndex{},
		dropIndex{},
		vacuum{},
		bloat{},
		reindex{},
		checkpoint{},
		archivable{},
		archive{},
		unarchive{},
		restore{},
		verify{},
		swap{},
	}
}
