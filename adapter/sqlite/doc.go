// Package sqlite is an event log in a SQLite database.
package sqlite
