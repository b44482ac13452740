// Command seglog reads, writes, follows and checks an event log from the shell.
//
//	seglog append TOPIC [--kind K] [--header k=v]… [--envelope] [--quiet]
//	seglog read TOPIC [--after N] [--limit N]
//	seglog tail TOPIC [--after N]
//	seglog topics
//	seglog latest TOPIC
//	seglog describe
//	seglog ack TOPIC CONSUMER ID
//	seglog cursor TOPIC CONSUMER
//	seglog consumers TOPIC
//	seglog compact TOPIC BEFORE --yes
//	seglog verify
//	seglog dump FILE
//	seglog completion SHELL
//
// # Which log
//
// --dir DIR (or -C DIR) names a segmented log. --backend KIND takes a log of
// another kind: --backend file with --dir, --backend sqlite with --path. A kind
// that this program was built without is refused.
// Without these flags the environment decides, as it does for programs that
// embed the log:
//
//	HARN_EVENT_LOG_BACKEND      kind of log; default segment
//	HARN_EVENT_LOG_SEGMENT_DIR  default $HARN_STATE_DIR/events.seglog
//	HARN_EVENT_LOG_DIR          default $HARN_STATE_DIR/events
//	HARN_EVENT_LOG_SQLITE_PATH  default $HARN_STATE_DIR/events.sqlite
//	HARN_STATE_DIR              default .harn in the current directory
//
// Where nothing chooses a kind, no segmented log is there yet, and a log of
// another kind is, every command refuses, and says how to choose.
//
// Only append creates a log. Commands that read open the log read-only, so
// they work beside the process that writes it, and tail follows that process.
// append, ack and compact need the log for themselves. Damage that opening
// finds is said on standard error, whatever the command.
//
// # Input
//
// append reads JSON lines: each line is the payload of one event, kept byte for
// byte without the white space around it. With --envelope each line is a whole
// event, {"kind":…,"payload":…,"headers":{…},"occurred_at_ms":…}, of which only
// the payload must be there; what it leaves out comes from --kind, --header and
// the clock. It also accepts what read prints, and ignores id, topic and
// position, so that events can be copied from log to log. Blank lines are
// skipped.
//
// Lines are committed as they arrive: all that wait share one commit, so a
// million lines take seconds, and each is durable before its id is printed. At
// a line that is refused append stops, says its number and why, and ends with
// status 1. The lines before it are then committed and their ids printed;
// neither it nor any line after it is.
//
// # Output
//
// On a terminal records come as tables. In a pipe, or with --json, they come as
// JSON lines, one object a record:
//
//	{"id":1,"topic":"jobs","position":1,"kind":"job.done","payload":{},"headers":{},"occurred_at_ms":1700000000000}
//
// append, latest and cursor answer with ids alone, one a line, and with
// objects only for --json. ack is silent unless --json asks.
//
// # Exit status
//
//	0    done; also where head or another reader of the output has had enough
//	1    it failed; standard error says why. latest and cursor: there is none
//	2    wrong usage
//	3    damage was found
//	130  interrupted; except tail, for which that is the way to end (0)
package main
