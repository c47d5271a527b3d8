package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"

	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/doctor"
)

const listening = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

var gatewayTrials = []trial{
	{"gateway.encryption", "in the open", plainHTTP("0.0.0.0:8888"), doctor.Warn, "without encryption"},
	{"gateway.encryption", "every address", plainHTTP(":8888"), doctor.Warn, "without encryption"},
	{"gateway.encryption", "IPv6", plainHTTP("[2001:db8::1]:8888"), doctor.Warn, "without encryption"},
	{"gateway.encryption", "a name", plainHTTP("cells.example.org:8888"), doctor.Warn, "without encryption"},
	{"gateway.encryption", "this machine alone", plainHTTP("127.0.0.2:8888"), doctor.OK, "cannot reach"},
	{"gateway.encryption", "this machine alone, by name", plainHTTP("localhost:8888"), doctor.OK, "cannot reach"},
	{"gateway.encryption", "behind a proxy", func(f *fake) {
		plainHTTP("0.0.0.0:8888")(f)
		f.host.Config.TrustedProxies = []string{"10.0.0.0/8"}
	}, doctor.OK, "proxy"},
	{"gateway.encryption", "no address", plainHTTP("8888"), doctor.Unknown, "listen"},

	{"gateway.port", "another's", replace("proc/net/tcp", listening+"0: 0100007F:22B8 00000000:0000 0A 0:0 0:0 0  1000 0 1 1"), doctor.Fail, "A program of user 1000 listens at port 8888."},
	{"gateway.port", "another's, IPv6", func(f *fake) {
		f.write("proc/net/tcp", listening)
		f.write("proc/net/tcp6", listening+"0: 00000000000000000000000000000000:22B8 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 1 1")
	}, doctor.Fail, "A program of user 0"},
	{"gateway.port", "a connection only", replace("proc/net/tcp", listening+"0: 0100007F:22B8 0100007F:9999 01 0:0 0:0 0  1000 0 1 1"), doctor.OK, "is free"},
	{"gateway.port", "root's", func(f *fake) { f.host.Config.Listen = "0.0.0.0:443" }, doctor.Fail, "net.ipv4.ip_unprivileged_port_start = 443"},
	{"gateway.port", "given to all", func(f *fake) {
		f.host.Config.Listen = "0.0.0.0:443"
		f.write("proc/sys/net/ipv4/ip_unprivileged_port_start", "80")
	}, doctor.OK, "is free"},
	{"gateway.port", "no list", func(f *fake) { f.remove("proc/net/tcp") }, doctor.Unknown, "port 8888"},

	{"gateway.certificate", "none", func(f *fake) { f.host.Config.TLS = config.TLS{} }, doctor.NotApplicable, "plain HTTP"},
	{"gateway.certificate", "ended", func(f *fake) { f.certificate(now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1)) }, doctor.Fail, "ended on 2026-11-27"},
	{"gateway.certificate", "not yet", func(f *fake) { f.certificate(now.AddDate(0, 0, 1), now.AddDate(1, 0, 0)) }, doctor.Fail, "begins only on 2026-11-29"},
	{"gateway.certificate", "ends soon", func(f *fake) { f.certificate(now.AddDate(-1, 0, 0), now.AddDate(0, 0, 13)) }, doctor.Warn, "ends on 2026-12-11"},
	{"gateway.certificate", "another's key", func(f *fake) {
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			f.t.Fatal(err)
		}
		f.certify(other, now.AddDate(0, -1, 0), now.AddDate(1, 0, 0))
		secret := f.files["etc/cellblock/key.pem"].Data
		f.certificate(now.AddDate(0, -1, 0), now.AddDate(1, 0, 0))
		f.write("etc/cellblock/key.pem", string(secret))
	}, doctor.Fail, "do not fit"},
	{"gateway.certificate", "nonsense", replace("etc/cellblock/cert.pem", "hello"), doctor.Fail, "do not fit"},
	{"gateway.certificate", "a key for everybody", mode("etc/cellblock/key.pem", 0o644), doctor.Fail, "chmod o= /etc/cellblock/key.pem"},
	{"gateway.certificate", "missing", func(f *fake) { f.remove("etc/cellblock/key.pem") }, doctor.Fail, "There is no /etc/cellblock/key.pem"},
	{"gateway.certificate", "closed", func(f *fake) { f.closed = []string{"etc/cellblock/key.pem"} }, doctor.Unknown, "as root"},

	{"gateway.clock", "in the past", func(f *fake) { f.host.Now = now.AddDate(-20, 0, 0) }, doctor.Fail, "says 2006-11-28"},
	{"gateway.clock", "nobody keeps it", func(f *fake) { f.synchronized = false }, doctor.Warn, "chrony"},
	{"gateway.clock", "no answer", func(f *fake) { f.clockErr = errors.New("no clock") }, doctor.Unknown, "no clock"},
}

func plainHTTP(address string) func(*fake) {
	return func(f *fake) { f.host.Config.TLS, f.host.Config.Listen = config.TLS{}, address }
}

var redisTrials = []trial{
	{"redis.version", "old", redis("redis_version", "7.2.10"), doctor.Fail, "CVE-2025-49844"},
	{"redis.version", "repaired", redis("redis_version", "7.2.11"), doctor.OK, "Redis 7.2.11"},
	{"redis.version", "later", redis("redis_version", "8.6.3"), doctor.OK, "Redis 8.6.3"},
	{"redis.version", "a line without a repair", redis("redis_version", "7.10.0"), doctor.Fail, "Redis 7.10.0"},
	{"redis.version", "Valkey", redis("valkey_version", "8.1.4"), doctor.OK, "Valkey 8.1.4"},
	{"redis.version", "Valkey, old", redis("valkey_version", "8.1.3"), doctor.Fail, "Valkey 8.1.3"},
	{"redis.version", "the distribution's, before the repair", func(f *fake) {
		f.write("usr/share/doc/redis-server/changelog.Debian.gz", "redis (5:7.0.15-1~deb12u5)")
	}, doctor.Warn, "redis-server 5:7.0.15-1~deb12u10"},
	{"redis.version", "the distribution's, removed", replace("var/lib/dpkg/status", "Package: redis-server\nStatus: deinstall ok config-files\nVersion: 5:7.0.15-1\n"), doctor.Fail, "Redis 7.0.15"},
	{"redis.version", "on another machine", func(f *fake) { f.host.Config.Redis.URL = "rediss://:x@db/0" }, doctor.Fail, "Redis 7.0.15"},
	{"redis.version", "it may not be asked", func(f *fake) { f.redisErr = errors.New("NOPERM this user has no permissions") }, doctor.Unknown, "+info"},
	{"redis.version", "it does not answer", func(f *fake) { f.redisErr = errors.New("down") }, doctor.Unknown, "down"},
	{"redis.version", "none", redis("redis_version", ""), doctor.Unknown, "version"},
	{"redis.eviction", "on", func(f *fake) {
		redis("maxmemory", "1000000")(f)
		redis("maxmemory_policy", "allkeys-lru")(f)
	}, doctor.Fail, "allkeys-lru"},
	{"redis.eviction", "without a bound", redis("maxmemory_policy", "allkeys-lru"), doctor.OK, ""},
	{"redis.eviction", "not told", redis("maxmemory_policy", ""), doctor.Unknown, "does not say"},
	{"redis.transport", "in the open", address("redis://:x@db.example.org/0"), doctor.Warn, "without encryption"},
	{"redis.transport", "without a password", address("rediss://db.example.org/0"), doctor.Warn, "rediss://USER:PASSWORD@db.example.org"},
	{"redis.transport", "with both", address("rediss://a:b@db.example.org/0"), doctor.OK, ""},
	{"redis.transport", "here", address("redis://:x@127.0.0.1:6379/0"), doctor.OK, ""},
	{"redis.transport", "here, without a password", address("redis://localhost:6379/0"), doctor.Warn, "without a password"},
	{"redis.transport", "a socket", address("unix:///run/redis.sock"), doctor.OK, "Unix socket"},
}

func redis(key, value string) func(*fake) { return func(f *fake) { f.redis[key] = value } }

func address(url string) func(*fake) { return func(f *fake) { f.host.Config.Redis.URL = url } }

const (
	gatewayCgroup = userCgroup + "/user@990.service/app.slice/cellblock.service"
	noLimits      = "Limit                     Soft Limit           Hard Limit           Units\n"
)

var serviceTrials = []trial{
	{"service.separation", "one user", func(f *fake) { f.dir("run/cellblock/front", 0o700, 990) }, doctor.Warn, "deploy/up"},
	{"service.separation", "not yet", func(f *fake) {
		f.remove("run/cellblock/front/serve.lock")
		f.remove("run/cellblock/front")
	}, doctor.NotApplicable, "not there yet"},
	{"service.memory_min", "none", replace(gatewayCgroup+"/memory.min", "0"), doctor.Warn, "MemoryMin=256M"},
	{"service.memory_min", "no controller", func(f *fake) { f.remove(gatewayCgroup) }, doctor.NotApplicable, "no say"},
	{"service.memory_min", "no gateway", replace("proc/locks", "1: POSIX  ADVISORY  WRITE 77 08:01:4242 0 EOF"), doctor.NotApplicable, "No gateway holds /run/cellblock/front/serve.lock"},
	{"service.memory_min", "never a gateway", func(f *fake) { f.remove("run/cellblock/front/serve.lock") }, doctor.NotApplicable, "No gateway"},
	{"service.memory_min", "closed", func(f *fake) { f.closed = []string{"proc/4321"} }, doctor.Unknown, "as root"},
	{"service.oom_score", "as a kernel's", replace("proc/4321/oom_score_adj", "500"), doctor.Warn, "is 500"},
	{"service.oom_score", "no number", replace("proc/4321/oom_score_adj", "x"), doctor.Unknown, "oom_score_adj"},
	{"service.core_limit", "none", replace("proc/4321/limits", noLimits+"Max core file size        0                    unlimited            bytes"), doctor.Warn, "(0 unlimited bytes)"},
	{"service.core_limit", "not told", replace("proc/4321/limits", noLimits), doctor.Unknown, "limits"},
	{"service.core_limit", "a lock that is another's", func(f *fake) {
		f.own("run/cellblock/front/serve.lock", fs.FileMode(0o600), 990)
	}, doctor.NotApplicable, "No gateway"},
}
