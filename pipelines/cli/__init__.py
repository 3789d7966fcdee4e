"""The command line: arguments in, tables, messages and exit codes out. The only room that prints.
No SQL, no HTTP and no rule about data may enter: a command calls the room that does the work.
"""
