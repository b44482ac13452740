// Package bench holds seglog's workloads, written against [engine.EventLog] so
// that any backend can run them, and [Limit], the yardstick they are compared
// with.
//
//	go test ./bench -bench . -run '^$'              every workload, ours beside the limit
//	go test ./bench -run TestRatios -ratios -v      ours against the limit in short alternating rounds (-v shows them)
//	go test ./bench -bench Open -run '^$' -events 1000000
//	go test ./bench -run TestScale -scale -v        what must not grow with a log: 10 million events, 100,000 topics
//	bench/compare main                             a change beside its base, in alternating rounds
//	go -C bench/peers run .                        the same workloads over other stores: see bench/peers
//
// # What is compared
//
// Absolute figures move from machine to machine and from day to day, so nothing
// here asserts one. What holds still is the ratio to the limit measured in the
// same process, in turns of a second or less: that is what TestRatios prints,
// as the median over its rounds, with the spread beside it. An event is the whole
// envelope, kind, headers, time and a payload of 256 bytes unless the row says
// otherwise; it is encoded and decoded inside the measured path.
//
// The stores live in fresh directories under -dir; by default in this package's
// own folder, because a temporary folder is often in memory, where a sync costs
// nothing.
//
// # Durable appends
//
// N appenders run a closed loop: each appends one event, waits until it is
// acknowledged and appends the next. Latencies are the times between
// acknowledgements of one appender, in a histogram with steps of 6 %.
package bench
