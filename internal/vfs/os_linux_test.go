package vfs

import "testing"

func TestAtLeastComparesReleases(t *testing.T) {
	for _, test := range []struct {
		release string
		want    bool
	}{
		{"5.8.0", true}, {"5.7.19", false}, {"6.1.0-2-amd64", true}, {"4.19", false}, {"10.0", true}, {"", false}, {"x.y", false},
	} {
		if got := atLeast(test.release, 5, 8); got != test.want {
			t.Errorf("%q: got %v, want %v", test.release, got, test.want)
		}
	}
}
