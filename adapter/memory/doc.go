// Package memory is an event log without persistence: a mutex, a map and
// slices. It is the reference model that the other backends are tested
// against, and therefore plain rather than fast.
//
// # Durability
//
// There is none. An append returns once readers and subscribers can see it,
// Flush does nothing, and all is gone with the process.
//
// # Concurrency
//
// All methods may be called from any number of goroutines; one mutex guards
// the whole log. What is passed in and what is handed out are deep copies.
package memory
