# perl: fork, pipes, sockets, signals, files.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

cat > t.pl <<'PL'
use strict; use warnings; use IO::Socket::INET; use IO::Select; use POSIX qw(:sys_wait_h); use File::Temp qw(tempdir); use Time::HiRes qw(time sleep alarm); use Fcntl qw(:flock :seek);
my $pid = fork // die; if (!$pid) { exit 7 } waitpid $pid, 0; die "status $?" unless $? >> 8 == 7;
pipe my $r, my $w; if (!fork) { close $r; print $w "line $_\n" for 1..1000; exit 0 } close $w; my $n = 0; $n++ while <$r>; wait; die "lines $n" unless $n == 1000;
my $out = `echo hi; exit 2`; die unless $out eq "hi\n" && $? >> 8 == 2; open my $p, '-|', 'seq', 5 or die; my @l = <$p>; close $p; die unless @l == 5;
my $alarm = 0; local $SIG{ALRM} = sub { $alarm++ }; alarm 0.05; select undef, undef, undef, 2; die "alarm" unless $alarm == 1; local $SIG{USR1} = sub { $n = -1 }; kill USR1 => $$; die unless $n == -1;
eval { local $SIG{ALRM} = sub { die "timeout\n" }; alarm 0.1; 1 while 1; }; die unless $@ eq "timeout\n";
my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen $!"; if (!fork) { my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $s->sockport) or die; print $c "hello\n"; print "" . <$c>; exit 0 } my $c = $s->accept; my $got = <$c>; print $c "bye\n"; close $c; wait; die unless $got eq "hello\n";
my $d = tempdir(CLEANUP => 1); open my $f, '+>', "$d/f" or die; flock $f, LOCK_EX or die; print $f "abc\n" x 1000; seek $f, 0, SEEK_SET; my @a = <$f>; die unless @a == 1000; rename "$d/f", "$d/g" or die; die unless -s "$d/g" == 4000; opendir my $dh, $d or die; my @e = grep !/^\./, readdir $dh; die unless "@e" eq 'g'; unlink "$d/g" or die; symlink 'x', "$d/l" or die; die unless readlink "$d/l" eq 'x'; die unless !-e "$d/l";
my %h = map { $_ => $_ ** 2 } 1..10000; die unless $h{100} == 10000; my $t = "abc" x 100000; (my $u = $t) =~ s/b/B/g; die unless ($u =~ tr/B//) == 100000; print "perl ok\n";
PL
want "$(perl t.pl | tail -1)" "perl ok"; want "$(perl -ne '$s += $_; END { print $s }' <(seq 100))" 5050; want "$(perl -MPOSIX -e 'print((POSIX::uname())[0])')" Linux
