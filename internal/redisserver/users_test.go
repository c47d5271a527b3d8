package redisserver_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/internal/secret"
)

// dangerous are commands that nobody but an administrator has a use for.
var dangerous = []string{
	"CONFIG GET dir", "CONFIG SET dir /tmp", "CONFIG REWRITE", "CONFIG RESETSTAT", "MODULE LIST", "MODULE LOAD /tmp/x.so",
	"DEBUG SLEEP 0", "DEBUG OBJECT cellblock:users", "KEYS *", "SCAN 0", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SHUTDOWN NOSAVE",
	"FUNCTION LIST", "FUNCTION LOAD x", "FUNCTION FLUSH", "FUNCTION KILL", "FCALL f 0", "SCRIPT LOAD x", "SCRIPT FLUSH", "SCRIPT KILL",
	"ACL LIST", "ACL WHOAMI", "ACL SETUSER cellblock +@all", "ACL LOG", "SAVE", "BGSAVE", "BGREWRITEAOF", "REPLICAOF 127.0.0.1 6379",
	"SYNC", "PSYNC ? -1", "MONITOR", "CLIENT LIST", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1000", "CLIENT NO-EVICT on", "INFO", "SLOWLOG GET",
	"LATENCY DOCTOR", "MEMORY DOCTOR", "MIGRATE h 1 k 0 1", "RESTORE cellblock:k 0 x", "DUMP cellblock:users", "OBJECT ENCODING cellblock:users",
	"RENAME cellblock:users cellblock:x", "COPY cellblock:users cellblock:x", "MOVE cellblock:users 1", "SELECT 1", "RANDOMKEY", "DBSIZE",
	"SORT cellblock:owners BY x GET y", "SUBSCRIBE x", "PSUBSCRIBE *", "PUBLISH x y", "XADD cellblock:s * a b", "GETDEL cellblock:x",
	"APPEND cellblock:x y", "SETRANGE cellblock:x 1 y", "BITFIELD cellblock:x GET u8 0", "PFDEBUG GETREG x", "CLUSTER NODES", "FAILOVER",
}

// TestDangerousCommandsAreRefused asks the server itself what the gateway's user may do.
func TestDangerousCommandsAreRefused(t *testing.T) {
	inst := redistest.Start(t)
	for _, command := range dangerous {
		for user, may := range map[string]bool{"admin": true, "cellblock": false, "default": false} {
			if verdict := dryRun(t, inst.Admin, user, command); may != (verdict == "OK") {
				t.Errorf("%s asks for %s: %s", user, command, verdict)
			}
		}
	}
	for _, command := range []string{"GET other:key", "HGET users x", "HSET celblock:users x y", "DEL cellblock", "EVALSHA x 1 other:key"} {
		if verdict := dryRun(t, inst.Admin, "cellblock", command); verdict == "OK" {
			t.Errorf("the gateway's user may %s", command)
		}
	}
	if verdict := dryRun(t, inst.Admin, "cellblock", "HGET cellblock:users x"); verdict != "OK" {
		t.Errorf("the gateway's user may not read its own: %s", verdict)
	}
	// What a script does is its user's doing.
	for _, script := range []string{"redis.call('RANDOMKEY')", "redis.call('GET', 'other:key')", "redis.call('FLUSHALL')"} {
		if err := inst.Client.Eval(t.Context(), script, nil).Err(); err == nil || !strings.Contains(err.Error(), "user executing the script can't") {
			t.Errorf("a script that calls %s: %v", script, err)
		}
	}
}

// dryRun is Redis' own verdict: "OK" or why not.
func dryRun(t *testing.T, admin *redis.Client, user, command string) string {
	t.Helper()
	args := []any{"ACL", "DRYRUN", user}
	for _, word := range strings.Fields(command) {
		args = append(args, word)
	}
	text, err := admin.Do(t.Context(), args...).Text()
	if err != nil {
		return err.Error()
	}
	return text
}

func TestNobodyGetsInWithoutThePassword(t *testing.T) {
	dir := shortDir(t)
	run(t, redisserver.New(config(dir)))
	socket := filepath.Join(dir, "s")
	for name, opt := range map[string]redis.Options{
		"nobody":             {},
		"a wrong password":   {Username: "cellblock", Password: "guess"},
		"no password":        {Username: "admin"},
		"the default user":   {Password: secret.New().Password()},
		"another key's user": {Username: "cellblock", Password: secret.New().For("redis user cellblock").Password()},
	} {
		opt.Network, opt.Addr = "unix", socket
		client := redis.NewClient(&opt)
		if err := client.Get(t.Context(), "cellblock:users").Err(); err == nil || err == redis.Nil ||
			!strings.Contains(err.Error(), "NOAUTH") && !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("%s: %v", name, err)
		}
		client.Close()
	}
}

// TestRulesOfAnotherVersion: a server that is taken over gets the rules that this version has.
func TestRulesOfAnotherVersion(t *testing.T) {
	dir := shortDir(t)
	one := redisserver.New(config(dir))
	admin, _ := run(t, one)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "cellblock", "+flushall", "-hget").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*").Err(); err != nil {
		t.Fatal(err)
	}
	run(t, redisserver.New(config(dir)))
	until(t, "the rules are this version's", func() bool {
		return dryRun(t, admin, "cellblock", "FLUSHALL") != "OK" && dryRun(t, admin, "cellblock", "HGET cellblock:users x") == "OK" &&
			dryRun(t, admin, "default", "FLUSHALL") != "OK"
	})
}

// TestStranger: a server with other passwords is neither used nor ended.
func TestStranger(t *testing.T) {
	dir := shortDir(t)
	admin, _ := run(t, redisserver.New(config(dir)))
	other := config(dir)
	other.Key = secret.New()
	srv := redisserver.New(other)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	until(t, "it says what is the matter", func() bool {
		a, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		err := srv.Ready(a)
		if err == nil {
			t.Error("Ready: no error")
		}
		return err == nil || strings.Contains(err.Error(), "secret.key")
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := admin.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the first server: %v", err)
	}
}

// TestDocumentedRules: whoever runs a server of their own copies the rules from the docs.
func TestDocumentedRules(t *testing.T) {
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	inst := redistest.Start(t)
	user, err := inst.Admin.Do(t.Context(), "ACL", "LIST").StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		rules := strings.Fields(line)
		if len(rules) == 0 || rules[0] != "~cellblock:*" {
			continue
		}
		args := []any{"ACL", "SETUSER", "documented", "on", ">x"}
		for _, rule := range rules {
			args = append(args, rule)
		}
		if err := inst.Admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		after, err := inst.Admin.Do(t.Context(), "ACL", "LIST").StringSlice()
		if err != nil || len(after) != len(user)+1 {
			t.Fatal(after, err)
		}
		_, documented, _ := strings.Cut(after[len(after)-1], " ~")
		for _, rule := range after {
			if strings.HasPrefix(rule, "user cellblock ") && !strings.HasSuffix(rule, documented) {
				t.Errorf("%s\nis not as documented: %s", rule, documented)
			}
		}
		return
	}
	t.Error("the docs have no rules")
}
