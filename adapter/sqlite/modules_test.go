package sqlite

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// modernc.org/sqlite is translated from C for one version of modernc.org/libc,
// and may misbehave with any other.
func TestLibcIsTheOneThatSQLiteWasTranslatedFor(t *testing.T) {
	const sqlite, libc = "modernc.org/sqlite", "modernc.org/libc"
	chosen := map[string]string{}
	for _, module := range []string{sqlite, libc} {
		chosen[module] = strings.TrimSpace(run(t, "list", "-m", "-f", "{{.Version}}", module))
	}
	var required struct {
		Require []struct{ Path, Version string }
	}
	file := strings.TrimSpace(run(t, "list", "-m", "-f", "{{.GoMod}}", sqlite))
	if err := json.Unmarshal([]byte(run(t, "mod", "edit", "-json", file)), &required); err != nil {
		t.Fatal(err)
	}
	for _, r := range required.Require {
		if r.Path == libc {
			if r.Version != chosen[libc] {
				t.Errorf("go.mod chooses %s %s, and %s %s asks for %s", libc, chosen[libc], sqlite, chosen[sqlite], r.Version)
			}
			return
		}
	}
	t.Errorf("%s %s asks for no %s", sqlite, chosen[sqlite], libc)
}

// run runs the go command, which needs no network for this.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
