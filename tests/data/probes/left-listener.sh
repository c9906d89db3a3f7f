perl -MIO::Socket::INET -e 'print "connected\n" if IO::Socket::INET->new("127.0.0.1:47653")'
