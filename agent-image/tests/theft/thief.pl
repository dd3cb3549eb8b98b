# A hostile step: searches everything that it can reach for values that it knows, and says what it found where.
#
#   perl thief.pl once|watch VALUES REPORT [PLACE...]     every process, and the files below the places
#   perl thief.pl files VALUES REPORT PLACE...            the files below the places only
#   perl thief.pl inside VALUES REPORT PID...             the memory of these processes only
#   perl thief.pl tokens VALUES REPORT PID...             what looks like a token in the memory of these processes
#
# VALUES has lines of `name hex`. The report's lines:
#   FOUND name kind place       CLOSED memory pid       TRACED pid       SOCKET path       LISTENER port
#   TOKEN text                  ROUND number            SEARCHED everything
use strict;
use warnings;
no warnings 'portable';
use Fcntl;
use POSIX ();
use Socket;

my ($mode, $values, $report, @rest) = @ARGV;
# Thieves do not find what other thieves have found.
$0 = 'thief';
use constant { CHUNK => 1 << 20, OVERLAP => 4096, LONGEST => 64 << 20, LARGEST => 256 << 20 };

my %value;
open(my $given, '<', $values) or die "values: $!";
while (<$given>) {
    my ($name, $hex) = split ' ';
    $value{$name} = pack('H*', $hex) if defined $hex;
}
close $given;
open(my $out, '>>', $report) or die "report: $!";
select($out);
$| = 1;

my %said;
sub tell_once { print "$_[0]\n" unless $said{$_[0]}++ }

sub look {
    my ($kind, $place, $bytes) = @_;
    if ($mode eq 'tokens') {
        tell_once("TOKEN $1") while $$bytes =~ /(eyJ[\w-]+\.[\w-]{20,}\.[\w-]{20,})/g;
        return;
    }
    for my $name (keys %value) {
        tell_once("FOUND $name $kind $place") if index($$bytes, $value{$name}) >= 0;
    }
}

# Everything from here on, at most so much of it.
sub look_through {
    my ($kind, $place, $handle, $left) = @_;
    my $seen = '';
    while ($left > 0) {
        my $wanted = $left < CHUNK ? $left : CHUNK;
        my $got = sysread($handle, my $chunk, $wanted);
        return unless $got;
        $left -= $got;
        $seen .= $chunk;
        look($kind, $place, \$seen);
        $seen = substr($seen, -OVERLAP) if length($seen) > OVERLAP;
    }
}

sub look_into_file {
    my ($kind, $place, $path) = @_;
    sysopen(my $handle, $path, O_RDONLY | O_NONBLOCK | O_NOCTTY) or return 0;
    look_through($kind, $place, $handle, LONGEST);
    return 1;
}

sub look_into_memory {
    my ($pid) = @_;
    my ($maps, $memory);
    unless (open($maps, '<', "/proc/$pid/maps") && sysopen($memory, "/proc/$pid/mem", O_RDONLY)) {
        return tell_once("CLOSED memory $pid");
    }
    while (<$maps>) {
        my ($from, $to, $rights, $path) = /^(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)$/ or next;
        # What is mapped from a file and cannot be written is in the file.
        next if $rights !~ /^r/ || $path =~ /^\[v/ || ($rights !~ /^rw/ && $path =~ m{^/});
        my ($start, $length) = (hex $from, hex($to) - hex($from));
        next if $length > LARGEST || !defined sysseek($memory, $start, 0);
        look_through('memory', $pid, $memory, $length);
    }
}

sub look_into_process {
    my ($pid) = @_;
    look_into_file('environment', $pid, "/proc/$pid/environ");
    look_into_file('arguments', $pid, "/proc/$pid/cmdline");
    for my $descriptor (glob "/proc/$pid/fd/*") {
        look_into_file('descriptor', $pid, $descriptor) if -f $descriptor;
    }
    look_into_memory($pid);
}

# Whether a process lets itself be traced; it is let go when this one ends.
sub trace {
    my ($pid) = @_;
    my $number = { x86_64 => 101, aarch64 => 117 }->{ (POSIX::uname())[4] } or return;
    tell_once("TRACED $pid") if syscall($number, 0x4206, $pid + 0, 0, 0) == 0;
}

sub processes {
    opendir(my $proc, '/proc') or die "proc: $!";
    my @found;
    for my $pid (grep { /^\d+$/ } readdir $proc) {
        next if $pid == $$;
        open(my $name, '<', "/proc/$pid/comm") or next;
        push @found, $pid unless <$name> eq "thief\n";
    }
    return @found;
}

sub look_into_place {
    my @waiting = @_;
    while (defined(my $path = shift @waiting)) {
        my @is = lstat $path or next;
        if (S_ISLNK($is[2])) {
            my $target = readlink $path;
            look('link', $path, \$target) if defined $target;
        } elsif (S_ISDIR($is[2])) {
            opendir(my $directory, $path) or next;
            push @waiting, map { "$path/$_" } grep { !/^\.\.?$/ } readdir $directory;
        } elsif (S_ISSOCK($is[2])) {
            socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or next;
            tell_once("SOCKET $path") if connect($socket, pack_sockaddr_un($path));
        } elsif (S_ISREG($is[2]) && $path ne $report) {
            look('name', $path, \$path);
            look_into_file('file', $path, $path);
        }
    }
}
sub S_ISLNK { ($_[0] & 0170000) == 0120000 }
sub S_ISDIR { ($_[0] & 0170000) == 0040000 }
sub S_ISSOCK { ($_[0] & 0170000) == 0140000 }
sub S_ISREG { ($_[0] & 0170000) == 0100000 }

# What listens on the network, or under a name without a file, for this user.
sub look_at_the_network {
    for my $table ('/proc/net/tcp', '/proc/net/tcp6') {
        open(my $lines, '<', $table) or next;
        while (<$lines>) {
            my (undef, $address, undef, $state, undef, undef, undef, $user) = split ' ';
            tell_once("LISTENER $address") if $state eq '0A' && $user == $<;
        }
    }
}

if ($mode eq 'inside' || $mode eq 'tokens') {
    look_into_memory($_) for @rest;
} elsif ($mode eq 'files') {
    look_into_place(@rest);
} elsif ($mode eq 'once') {
    look_into_place(@rest);
    for my $pid (processes()) {
        look_into_process($pid);
        trace($pid);
    }
    look_at_the_network();
} else {
    for (my $round = 1; ; $round++) {
        look_into_process($_) for processes();
        look_into_place(@rest);
        print "ROUND $round\n";
        # Often enough to see what lives for a moment.
        select(undef, undef, undef, 0.01);
    }
}
print "SEARCHED everything\n";
