// Package script has operations on an event log as data: they are generated
// from a seed, printed, parsed back, run by any runner, and made smaller while
// they still show a failure.
//
// A script is text, one operation a line, so that a failure is replayed by
// pasting what the failing test printed:
//
//	options wal=65536 segment=16384 block=256
//	append a 7:120
//	batch a 8:10 9:4000
//	commit append a 1:10; append b 2:20; ack a c1 3
//	ack a c1 4
//	compact a 2
//	crash 5 77
//
// An event is written seed:size. [Seed.Event] makes the same event of it every
// time.
package script
