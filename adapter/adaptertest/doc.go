// Package adaptertest is the conformance suite of [engine.EventLog]: one
// subtest for each rule that every backend keeps, for backends of other
// projects too. A backend's test is
//
//	func TestConformance(t *testing.T) {
//		adaptertest.Run(t, func(t *testing.T) engine.EventLog {
//			log, err := mylog.Open(t.TempDir())
//			if err != nil {
//				t.Fatal(err)
//			}
//			return log
//		})
//	}
//
// [RunWith] also tests what survives reopening, what depends on limits, and
// what other processes see. Methods beyond the interface (Commit, Consumers,
// DeleteCursor, ReadRaw, AppendAsync, those of engine.Restorer) are found by
// their signatures; where a backend lacks one, or refuses it with
// errors.ErrUnsupported, its subtests are skipped and say so. [Survey] tells
// which these are, and [Capabilities] sums it up.
//
// No rule sleeps, and none depends on timing: a deadline only ends a wait that
// would otherwise last for ever.
package adaptertest
