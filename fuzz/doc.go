// Package fuzz has the tests that break things: there is no code in it for
// programs to use.
//
//   - Crash points: fixed workloads on the simulated disk of internal/vfs, cut at
//     their file operations, with every way in which what was not synced may
//     survive, and cut again while the log recovers (crash_test.go).
//   - Faults: each file operation fails once, or from then on (fault_test.go).
//   - Damage: bits are flipped, sectors zeroed, files cut, swapped and removed
//     (damage_test.go, promise_test.go).
//   - Simulation: seeded storms of all operations, faults and crashes (sim_test.go).
//   - Kills of real processes (kill_test.go).
//   - The same scripts on all backends, which must agree (differential_test.go).
//   - Directories of arbitrary bytes (image_fuzz_test.go); decoders have fuzz
//     targets in their own packages.
//   - Mutants: deliberate mistakes in the product, each of which a test must
//     catch (mutants_test.go).
//
// Package script has the operations as text, model the reference that all
// results are compared with, and rig runs the one against the other. What
// `go test ./fuzz` runs is a sample; -scale, -seeds, -kills, -scripts, -mutants,
// -full and -deep ask for more.
package fuzz
