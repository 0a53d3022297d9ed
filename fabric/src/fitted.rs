//! Constants that are fitted to measurements: one list for what they are, what is expected of them, and what was found.

/// Makes an enum `Parameter` and a `Calibration` of a list of constants. One line for each: what it is; what is expected of it without a
/// measurement, between which bounds it is looked for, and what a fit found.
#[macro_export]
macro_rules! fitted_constants {
    ($($(#[$about:meta])+ $name:ident: $prior:literal in $least:literal to $most:literal, fitted $fitted:literal;)+) => {
        /// A constant that is fitted.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Parameter {
            $($(#[$about])+ $name,)+
        }

        impl Parameter {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name),+];

            /// What is expected of it without a measurement, and between which bounds it is looked for.
            pub const fn prior(self) -> (f64, f64, f64) {
                match self {
                    $(Self::$name => ($prior, $least, $most),)+
                }
            }
        }

        /// A value for each constant; as fitted to the public measurements unless said otherwise.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Calibration([f64; Parameter::ALL.len()]);

        impl Calibration {
            /// What is expected without a measurement.
            pub fn prior() -> Self {
                Self(Parameter::ALL.map(|parameter| parameter.prior().0))
            }

            /// Values in the order of [`Parameter::ALL`], each within its bounds.
            pub fn of(values: &[f64]) -> Self {
                let mut calibration = Self::prior();
                for (parameter, &value) in Parameter::ALL.into_iter().zip(values) {
                    calibration.set(parameter, value);
                }
                calibration
            }

            /// The value of a constant.
            pub const fn get(&self, parameter: Parameter) -> f64 {
                self.0[parameter as usize]
            }

            /// Sets a constant, within its bounds.
            pub fn set(&mut self, parameter: Parameter, value: f64) {
                let (_, least, most) = parameter.prior();
                self.0[parameter as usize] = value.clamp(least, most);
            }
        }

        impl Default for Calibration {
            fn default() -> Self {
                Self([$($fitted),+])
            }
        }

        #[cfg(test)]
        mod constants {
            use super::{Calibration, Parameter};

            #[test]
            fn are_within_bounds() {
                for parameter in Parameter::ALL {
                    let (prior, least, most) = parameter.prior();
                    let fitted = Calibration::default().get(parameter);
                    let range = least..=most;
                    assert!(range.contains(&prior) && range.contains(&fitted), "{parameter:?}: {fitted}");
                }
            }
        }
    };
}
