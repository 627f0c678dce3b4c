//! System calls with the arguments they have.

/// Fills the arguments that are not used with 0.
macro_rules! call {
    ($number:ident) => { call!(@ $number, 0, 0, 0, 0, 0, 0) };
    ($number:ident, $a:expr) => { call!(@ $number, $a, 0, 0, 0, 0, 0) };
    ($number:ident, $a:expr, $b:expr) => { call!(@ $number, $a, $b, 0, 0, 0, 0) };
    ($number:ident, $a:expr, $b:expr, $c:expr) => { call!(@ $number, $a, $b, $c, 0, 0, 0) };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr) => { call!(@ $number, $a, $b, $c, $d, 0, 0) };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => { call!(@ $number, $a, $b, $c, $d, $e, 0) };
    ($number:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => {
        call!(@ $number, $a, $b, $c, $d, $e, $f)
    };
    (@ $number:ident, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => {
        $crate::stage::syscall::syscall(
            $crate::stage::number::$number,
            [$a as usize, $b as usize, $c as usize, $d as usize, $e as usize, $f as usize],
        )
    };
}


pub(crate) use call;
