// Command seglog reads, writes, follows, checks and copies an event log from the
// shell.
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
//	seglog copy --from BACKEND:LOCATION --to BACKEND:LOCATION [--clamp-cursors]
//	seglog export [TOPIC]
//	seglog import [--topic T] [--renumber] [--quiet]
//	seglog completion SHELL
//
// # Which log
//
// --dir DIR (or -C DIR) names a segmented log, and --path FILE an SQLite
// database. --backend KIND takes a log of another kind: --backend file with
// --dir, or --backend sqlite with --path. All commands work on all of them, but
// dump, which prints the files of a segmented log. Without these flags the
// environment decides, as it does for programs that embed the log:
//
//	HARN_EVENT_LOG_BACKEND      kind of log; default segment
//	HARN_EVENT_LOG_SEGMENT_DIR  default $HARN_STATE_DIR/events.seglog
//	HARN_EVENT_LOG_DIR          default $HARN_STATE_DIR/events
//	HARN_EVENT_LOG_SQLITE_PATH  default $HARN_STATE_DIR/events.sqlite
//	HARN_STATE_DIR              default .harn in the current directory
//
// Where nothing chooses a kind, no segmented log is there yet, and a log of
// another kind is, every command refuses, and says how to choose and how to
// copy.
//
// Only append, import and copy create a log. Commands that read open the log read-only, so
// they work beside the process that writes it, and tail follows that process.
// append, import, ack, compact and the target of copy need the log for
// themselves, except for an SQLite log, whose writers take turns. Damage that
// opening finds is said on standard error, whatever the command.
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
// import reads the same envelopes, and takes the topic from each line, or all
// into --topic. An id in a line must be the one that its event gets, unless
// --renumber says otherwise; a new topic begins at the first id that its lines
// have.
//
// # Moving a log
//
// copy makes one log a copy of another, of any kinds: with ids, times, headers,
// payloads, cursors, and topics that begin above event 1 or are empty. It reads
// both at the end and compares them. Killed or interrupted, it goes on when it
// is started again; a target that holds anything else is refused. LOCATION is a
// directory, or the database of an SQLite log, and may hold colons:
//
//	seglog copy --from sqlite:.harn/events.sqlite --to segment:.harn/events.seglog
//
// export and import carry events alone, as text.
//
// # Output
//
// On a terminal records come as tables. In a pipe, or with --json, they come as
// JSON lines, one object a record:
//
//	{"id":1,"topic":"jobs","position":1,"kind":"job.done","payload":{},"headers":{},"occurred_at_ms":1700000000000}
//
// export always writes JSON lines. append, latest and cursor answer with ids
// alone, one a line, and with objects only for --json. ack is silent unless
// --json asks. White space between the tokens of a payload is not printed.
//
// # Exit status
//
//	0    done; also where head or another reader of the output has had enough
//	1    it failed; standard error says why. latest and cursor: there is none
//	2    wrong usage
//	3    damage was found
//	130  interrupted; except tail, for which that is the way to end (0)
package main
