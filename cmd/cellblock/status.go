package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/kernels"
)

const (
	statusTimeout = 5 * time.Second
	maxStatus     = 64 << 10 // bytes of an answer
)

func statusCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the gateway is",
		Long: `Asks the running gateway how it is and counts users and kernels. The exit status is 0 when it serves, also
with problems, and 1 when it does not.`,
		Example: "  cellblock status --json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			return a.status(cmd.Context(), cfg)
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// state is what status prints.
type state struct {
	URL      string   `json:"url"`
	Status   string   `json:"status"` // as /healthz has it, or "down"
	Problems []string `json:"problems"`
	// Nil when Redis did not answer.
	Users   *int                  `json:"users"`
	Kernels map[kernels.Phase]int `json:"kernels"`
}

func (a *app) status(ctx context.Context, cfg config.Config) error {
	s := state{URL: localAddress(cfg), Status: "down", Problems: []string{}}
	down := s.ask(ctx, cfg)
	uncounted := a.inOffice(ctx, func(ctx context.Context, o *office) error { return s.count(ctx, o) })
	if uncounted != nil && down == nil {
		s.Problems = append(s.Problems, "Users and kernels could not be counted: "+uncounted.Error())
	}
	if err := a.printState(s); err != nil {
		return err
	}
	if down != nil {
		return fmt.Errorf("the gateway does not answer at %s: %w", s.URL, down)
	}
	if s.Status == "failing" {
		return errors.New("the gateway cannot serve: " + strings.Join(s.Problems, " "))
	}
	return nil
}

func (a *app) printState(s state) error {
	if a.json {
		return a.printJSON(s)
	}
	rows := [][]string{{"gateway", s.Status + ", " + s.URL}}
	for _, p := range s.Problems {
		rows = append(rows, []string{"", p})
	}
	if len(s.Problems) > 0 {
		rows = append(rows, []string{"", "(cellblock doctor says what to do)"})
	}
	if s.Users != nil {
		total := 0
		var phases []string
		for _, phase := range []kernels.Phase{kernels.PhaseStarting, kernels.PhaseRunning, kernels.PhaseRestarting, kernels.PhaseEnding} {
			if n := s.Kernels[phase]; n > 0 {
				total += n
				phases = append(phases, strconv.Itoa(n)+" "+string(phase))
			}
		}
		rows = append(rows, []string{"users", strconv.Itoa(*s.Users)})
		rows = append(rows, []string{"kernels", strings.TrimSpace(strconv.Itoa(total) + "  " + strings.Join(phases, ", "))})
	}
	return a.printTable(nil, rows)
}

// ask fills in what the gateway says of itself.
func (s *state) ask(ctx context.Context, cfg config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/healthz", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: onlyOwn(cfg.TLS.Cert)}}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxStatus))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, s); err != nil || s.Status == "down" {
		return fmt.Errorf("something else than a gateway answers: %s", answer.Status)
	}
	return nil
}

// onlyOwn accepts exactly the certificate that the gateway is configured with: this machine's address is not its name.
func onlyOwn(file string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, // instead:
		VerifyConnection: func(c tls.ConnectionState) error {
			text, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("read tls.cert: %w", err)
			}
			own, _ := pem.Decode(text)
			if own == nil || len(c.PeerCertificates) == 0 || !bytes.Equal(c.PeerCertificates[0].Raw, own.Bytes) {
				return errors.New("its certificate is not the first of tls.cert")
			}
			return nil
		},
	}
}

// count fills in what Redis knows.
func (s *state) count(ctx context.Context, o *office) error {
	users, err := o.auth.Users(ctx)
	if err != nil {
		return err
	}
	records, err := o.store.Records(ctx, "")
	if err != nil {
		return err
	}
	n := len(users)
	s.Users, s.Kernels = &n, map[kernels.Phase]int{}
	for _, r := range records {
		s.Kernels[r.Phase]++
	}
	return nil
}
