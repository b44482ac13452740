// Peers runs the workloads of package bench over other embedded stores, in one
// process and one run with seglog and with the limit, and writes all that it
// measured as JSON beside a table for each row, and says which of its targets
// seglog reaches.
//
//	go -C bench/peers run . -out run.json                        everything: a quarter of an hour
//	go -C bench/peers run . -out run.json -targets               which targets it reaches
//	go -C bench/peers run . -list                                the rows and the stores
//	go -C bench/peers run . -rows append -stores seglog,pebble   a part of it
//	go run ./bench/plot bench/peers/run.json docs/plots          plots of it
//
// Each store is driven in the way that its own documentation says is right, and
// is durable in the rows that say so; stores that cannot be, or that run with
// settings that are not, say so in every table. See README.md for how to read
// the figures.
package main
