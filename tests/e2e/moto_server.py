"""moto's server with one request at a time: `python moto_server.py -H HOST -p PORT`.

moto stores an object first and gives it its metadata, Content-Type and Cache-Control afterwards, so that a GET of another
thread can see the new bytes and tag without them. S3 never shows that, and a cache that was told so has no way to know.
"""
import threading

import moto.server

lock = threading.Lock()
run_simple = moto.server.run_simple


def one_at_a_time(application):
    def call(environ, start_response):
        with lock:
            return application(environ, start_response)

    return call


moto.server.run_simple = lambda host, port, application, **options: run_simple(host, port, one_at_a_time(application), **options)
moto.server.main()
