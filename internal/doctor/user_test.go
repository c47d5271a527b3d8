package doctor_test

import (
	"io/fs"

	"cellblock.io/cellblock/internal/doctor"
)

var userTrials = []trial{
	{"user.account", "root", func(f *fake) { f.host.User = doctor.User{Name: "root"} }, doctor.Fail, "as root"},
	{"user.account", "nobody knows", func(f *fake) { f.host.User = doctor.User{} }, doctor.Unknown, "deploy/up"},

	{"user.subordinate_ids", "none", func(f *fake) { f.remove("etc/subuid") }, doctor.Fail, "/etc/subuid: cellblock has 0 ids"},
	{"user.subordinate_ids", "too few", replace("etc/subuid", "cellblock:100000:65536"), doctor.Fail, "has 65536 ids"},
	{"user.subordinate_ids", "too few for groups", replace("etc/subgid", "cellblock:100000:65536"), doctor.Fail, "/etc/subgid"},
	{"user.subordinate_ids", "by number, in two pieces", replace("etc/subuid", "990:16777216:2097152\n990:33554432:2097152"), doctor.OK, ""},
	{"user.subordinate_ids", "another's", replace("etc/subuid", "cellblock:16777216:4194304\nsomebody:20971519:1"), doctor.Fail, "also those of somebody"},
	{"user.subordinate_ids", "neighbours'", replace("etc/subuid", "below:16711680:65536\ncellblock:16777216:4194304\nabove:20971520:65536"), doctor.OK, ""},
	{"user.subordinate_ids", "a person's", replace("etc/passwd", "alice:x:16777300:100::/home/alice:/bin/sh"), doctor.Fail, "also those of alice"},
	{"user.subordinate_ids", "a group's", replace("etc/group", "people:x:16777216:"), doctor.Fail, "also those of people"},
	{"user.subordinate_ids", "broken lines", replace("etc/subuid", "cellblock:x:4194304\ncellblock"), doctor.Fail, "has 0 ids"},
	{"user.subordinate_ids", "root", func(f *fake) { f.host.User = doctor.User{Name: "root"} }, doctor.NotApplicable, "Root"},
	{"user.subordinate_ids", "closed", func(f *fake) { f.closed = []string{"etc/passwd"} }, doctor.Unknown, "as root"},

	{"user.newuidmap", "without privilege", func(f *fake) { f.own("usr/bin/newuidmap", 0o755, 0) }, doctor.Fail, "newuidmap has neither"},
	{"user.newuidmap", "another's bit", func(f *fake) { f.own("usr/bin/newuidmap", 0o755|fs.ModeSetuid, 5) }, doctor.Fail, "newuidmap has neither"},
	{"user.newuidmap", "the wrong capability", func(f *fake) {
		f.xattrs["/usr/bin/newgidmap"] = []byte{1, 0, 0, 2, 1 << 7, 0, 0, 0}
	}, doctor.Fail, "newgidmap has neither"},
	{"user.newuidmap", "missing", func(f *fake) { f.remove("usr/bin/newgidmap") }, doctor.Fail, "There is no newgidmap"},

	{"user.tun", "none", func(f *fake) { f.remove("dev/net/tun") }, doctor.NotApplicable, "no /dev/net/tun"},
	{"user.tun", "a file", func(f *fake) { f.own("dev/net/tun", 0o644, 0) }, doctor.Warn, "not a device"},
}

// replace gives a file another content.
func replace(name, content string) func(*fake) { return func(f *fake) { f.write(name, content) } }

var fileTrials = []trial{
	{"files.run_dir", "another's", func(f *fake) { f.dir("run/cellblock", 0o700, 1000) }, doctor.Fail, "belongs to user 1000"},
	{"files.run_dir", "open", func(f *fake) { f.dir("run/cellblock", 0o777, 0) }, doctor.Fail, "chmod go-w /run/cellblock"},
	{"files.run_dir", "sticky, but the user's", func(f *fake) { f.dir("run/cellblock", 0o777|fs.ModeSticky, 990) }, doctor.Fail, "changed by others"},
	{"files.run_dir", "private", func(f *fake) { f.dir("run/cellblock", 0o700, 990) }, doctor.OK, ""},
	{"files.run_dir", "a file", func(f *fake) { f.own("run/cellblock", 0o700, 990) }, doctor.Fail, "not a directory"},
	{"files.run_dir", "none", func(f *fake) { f.host.Config.RunDir = "/run/other" }, doctor.NotApplicable, "not there yet"},
	{"files.state_dir", "open", func(f *fake) { f.dir("var/lib/cellblock", 0o775, 990) }, doctor.Fail, "changed by others"},
	{"files.state_dir", "closed", func(f *fake) { f.closed = []string{"var/lib"} }, doctor.Unknown, "as root"},
	{"files.kernels_dir", "open", func(f *fake) { f.dir("run/cellblock/kernels", 0o711, 990) }, doctor.Fail, "open to other users (mode 0711"},
	{"files.kernels_dir", "another's", func(f *fake) { f.dir("run/cellblock/kernels", 0o700, 0) }, doctor.Fail, "does not belong to user 990"},
	{"files.kernels_dir", "none", func(f *fake) { f.remove("run/cellblock/kernels") }, doctor.NotApplicable, "not there yet"},
	{"files.redis_dir", "open", func(f *fake) { f.dir("var/lib/cellblock/redis", 0o750, 990) }, doctor.Fail, "chmod 0700"},
	{"files.redis_dir", "another Redis", func(f *fake) { f.host.Config.Redis.URL = "rediss://:x@db/0" }, doctor.NotApplicable, "not the gateway's own"},
	{"files.secret_key", "open", func(f *fake) { f.own("var/lib/cellblock/secret.key", 0o640, 991) }, doctor.Fail, "chmod 0600"},
	{"files.secret_key", "another's", func(f *fake) { f.own("var/lib/cellblock/secret.key", 0o600, 0) }, doctor.Fail, "belongs to user 0"},
	{"files.secret_key", "none", func(f *fake) { f.remove("var/lib/cellblock/secret.key") }, doctor.NotApplicable, "serve makes it"},
	{"files.config", "open", func(f *fake) { f.own("etc/cellblock/config.yaml", 0o666, 0) }, doctor.Fail, "chmod go-w"},
	{"files.config", "another's", func(f *fake) { f.own("etc/cellblock/config.yaml", 0o600, 1000) }, doctor.Fail, "user 1000"},
	{"files.config", "a password for everybody", func(f *fake) {
		f.own("etc/cellblock/config.yaml", 0o644, 0)
		f.host.Config.Redis.URL = "redis://:secret@db/0"
	}, doctor.Fail, "Redis' password"},
	{"files.config", "readable, without one", func(f *fake) { f.own("etc/cellblock/config.yaml", 0o644, 0) }, doctor.OK, ""},
	{"files.config", "none", func(f *fake) { f.remove("etc/cellblock/config.yaml") }, doctor.NotApplicable, "defaults"},
}
