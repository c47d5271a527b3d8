package containers

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

// The system calls that a kernel and its bridge may make, as Podman reads them. Each group has its reason beside it.
// There are only rules that allow: one that forbids by an argument is undone by any that allows the call without.
//
//go:embed seccomp/kernel.json seccomp/bridge.json
var seccompProfiles embed.FS

// seccompPath is where Podman finds a container's profile: the administrator's own, else the one of this program.
func (c Config) seccompPath(r role) string {
	if c.SeccompProfile != "" {
		return c.SeccompProfile
	}
	return filepath.Join(c.RunDir, "seccomp-"+string(r)+".json")
}

// writeSeccomp puts our profiles into the run directory, for this user's eyes only. They are replaced in one step: another
// gateway may be starting a kernel.
func (c Config) writeSeccomp() error {
	if c.SeccompProfile != "" {
		return nil
	}
	for _, r := range []role{roleKernel, roleBridge} {
		text, err := seccompProfiles.ReadFile("seccomp/" + string(r) + ".json")
		if err != nil {
			return err
		}
		if err := replaceFile(c.seccompPath(r), text); err != nil {
			return fmt.Errorf("write the seccomp profile of the %s: %w", r, err)
		}
	}
	return nil
}

// replaceFile writes a file of mode 0600 that is either the old one or the new one at any time.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that counts is the first
	}
	return err
}
