//! The flat program that the stage carries out.
