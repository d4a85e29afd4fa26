/** 9P2000.L (diod's protocol.md; Linux's include/net/9p/9p.h). Replies have the number of the request plus 1. */
export const P9_VERSION = '9P2000.L';

export const P9_RLERROR = 7;
export const P9_TSTATFS = 8;
export const P9_TLOPEN = 12;
export const P9_TLCREATE = 14;
export const P9_TSYMLINK = 16;
export const P9_TMKNOD = 18;
export const P9_TRENAME = 20;
export const P9_TREADLINK = 22;
export const P9_TGETATTR = 24;
export const P9_TSETATTR = 26;
export const P9_TXATTRWALK = 30;
export const P9_TXATTRCREATE = 32;
export const P9_TREADDIR = 40;
export const P9_TFSYNC = 50;
export const P9_TLOCK = 52;
export const P9_TGETLOCK = 54;
export const P9_TLINK = 70;
export const P9_TMKDIR = 72;
export const P9_TRENAMEAT = 74;
export const P9_TUNLINKAT = 76;
export const P9_TVERSION = 100;
export const P9_TAUTH = 102;
export const P9_TATTACH = 104;
export const P9_TFLUSH = 108;
export const P9_TWALK = 110;
export const P9_TREAD = 116;
export const P9_TWRITE = 118;
export const P9_TCLUNK = 120;
export const P9_TREMOVE = 122;

/** size[4] type[1] tag[2]. */
export const P9_HEADER_BYTES = 7;
/** Rread up to its data: header, count[4]. */
export const P9_RREAD_BYTES = 11;
/** Twrite up to its data: header, fid[4] offset[8] count[4]. */
export const P9_TWRITE_BYTES = 23;
export const P9_QID_BYTES = 13;
/** An Rreaddir entry without its name: qid[13] offset[8] type[1] name[s]. */
export const P9_DIRENT_BYTES = 24;

export const P9_NOFID = 0xffff_ffff;
/** n_uname of attach: nobody in particular. */
export const P9_NONUNAME = 0xffff_ffff;
/** Names in a Twalk at most. */
export const P9_MAXWELEM = 16;
/** Smaller messages could not carry every reply; QEMU's figure. */
export const P9_MSIZE_MIN = 4096;
/** Linux asks for 512,000 bytes at most. */
export const P9_MSIZE_MAX = 1 << 20;

// qid.type
export const P9_QTDIR = 0x80;
export const P9_QTSYMLINK = 0x02;
export const P9_QTFILE = 0x00;

// Flags of Tlopen and Tlcreate: Linux's, octal, on any architecture.
export const P9_OPEN_ACCMODE = 0o3;
export const P9_OPEN_WRONLY = 0o1;
export const P9_OPEN_RDWR = 0o2;
export const P9_OPEN_EXCL = 0o200;
export const P9_OPEN_TRUNC = 0o1000;
export const P9_OPEN_APPEND = 0o2000;
export const P9_OPEN_DSYNC = 0o10000;
export const P9_OPEN_DIRECTORY = 0o200000;
export const P9_OPEN_SYNC = 0o4000000;

// valid of Tsetattr
export const P9_SETATTR_MODE = 0x01;
export const P9_SETATTR_UID = 0x02;
export const P9_SETATTR_GID = 0x04;
export const P9_SETATTR_SIZE = 0x08;
export const P9_SETATTR_ATIME = 0x10;
export const P9_SETATTR_MTIME = 0x20;
export const P9_SETATTR_ATIME_SET = 0x80;
export const P9_SETATTR_MTIME_SET = 0x100;

/** valid of Rgetattr: all that stat(2) has. */
export const P9_GETATTR_BASIC = 0x7ffn;

/** Of Tunlinkat. */
export const P9_AT_REMOVEDIR = 0x200;

// Tlock and Tgetlock
export const P9_LOCK_SUCCESS = 0;
export const P9_LOCK_TYPE_UNLCK = 2;
/** Statfs type: V9FS_MAGIC. */
export const P9_STATFS_TYPE = 0x0102_1997;
