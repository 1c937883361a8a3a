package netpoll

const fionwrite = 0x40046677 // _IOR('f', 119, int)
