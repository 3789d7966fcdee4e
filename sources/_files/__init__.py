"""Who else can write a file: what others can write neither says where our keys go nor holds our working files.

No setting, no request and no message about a vendor may enter.
"""
