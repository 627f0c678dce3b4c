//! How often, and in which order, the members of a service are chosen.

use super::super::balance::{Balance, ServiceMember};
use std::net::Ipv4Addr;

/// No service has more slots for weights: a member whose share is less than one has one.
const MOST_WEIGHTED: u64 = 2048;
/// Sizes of the table of [`Balance::SourceHash`]: prime numbers, as its construction needs them.
const TABLE_SIZES: [usize; 3] = [1021, 4093, 16_381];

/// The slots of a service; one that is chosen (in turn, by chance, by a hash) names its member.
pub(super) fn slots(balance: Balance, members: &[ServiceMember], generation: u64) -> Vec<Ipv4Addr> {
    let mut addresses: Vec<Ipv4Addr> = members.iter().map(|member| member.address).collect();
    match balance {
        _ if members.is_empty() => Vec::new(),
        Balance::RoundRobin => {
            // The kernel's counter begins anew with every change: where it begins must not always be the same member.
            let length = addresses.len() as u64;
            addresses.rotate_left((generation % length) as usize);
            addresses
        }
        Balance::Random => addresses,
        Balance::Weighted => interleave(members),
        Balance::SourceHash => spread(&addresses),
    }
}

/// Each member as often as its weight says, evenly mixed.
fn interleave(members: &[ServiceMember]) -> Vec<Ipv4Addr> {
    let weights: Vec<u64> = members.iter().map(|member| u64::from(member.weight.max(1))).collect();
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let sum: u64 = weights.iter().map(|weight| weight / divisor).sum();
    let scaled = |weight: &u64| match sum {
        0..=MOST_WEIGHTED => weight / divisor,
        _ => (weight / divisor * MOST_WEIGHTED / sum).max(1),
    };
    let counts: Vec<u64> = weights.iter().map(scaled).collect();
    // Of a member with c slots, the k-th lies at (2k + 1) / 2c of the whole.
    let mut places: Vec<(u64, usize)> = Vec::new();
    for (index, count) in counts.iter().enumerate() {
        places.extend((0..*count).map(|turn| (((2 * turn + 1) << 32) / (2 * count), index)));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, index)| members[index].address).collect()
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Maglev's table (Eisenbud and others, NSDI 2016, 3.4): every member has a permutation of the slots of its own, and they
/// take turns at the next free one of it. Shares differ by one slot, and a member that comes or goes moves little more
/// than its own share.
fn spread(members: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    // The order in which the members take turns is theirs, not the caller's.
    let mut members = members.to_vec();
    members.sort_unstable();
    let size = TABLE_SIZES.into_iter().find(|size| *size >= members.len() * 64).unwrap_or(TABLE_SIZES[2]);
    let permutations: Vec<(usize, usize)> = members.iter().map(|member| permutation(*member, size)).collect();
    let mut next = vec![0; members.len()];
    let mut table = vec![None; size];
    let mut free = size;
    'filled: loop {
        for (index, (offset, skip)) in permutations.iter().enumerate() {
            let slot = loop {
                let slot = (offset + next[index] * skip) % size;
                next[index] += 1;
                if table[slot].is_none() {
                    break slot;
                }
            };
            table[slot] = Some(members[index]);
            free -= 1;
            if free == 0 {
                break 'filled;
            }
        }
    }
    table.into_iter().flatten().collect()
}

/// Offset and skip of a member's permutation of `size` slots.
fn permutation(member: Ipv4Addr, size: usize) -> (usize, usize) {
    let hash = mix(u64::from(member.to_bits()));
    ((hash >> 32) as usize % size, (hash & 0xffff_ffff) as usize % (size - 1) + 1)
}

/// The finaliser of SplitMix64: the same on every machine and in every release.
pub(super) fn mix(value: u64) -> u64 {
    let mut hash = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn members(weights: &[u32]) -> Vec<ServiceMember> {
        let address = |index: usize| Ipv4Addr::new(10, 77, 0, 2 + index as u8);
        weights
            .iter()
            .enumerate()
            .map(|(index, weight)| ServiceMember { address: address(index), weight: *weight })
            .collect()
    }

    fn shares(slots: &[Ipv4Addr]) -> BTreeMap<Ipv4Addr, usize> {
        slots.iter().fold(BTreeMap::new(), |mut shares, slot| {
            *shares.entry(*slot).or_default() += 1;
            shares
        })
    }

    #[test]
    fn weights_are_shares_and_are_mixed() {
        let three = members(&[1, 2, 1]);
        let slots = slots(Balance::Weighted, &three, 1);
        assert_eq!(slots.len(), 4);
        assert!(slots.windows(2).all(|pair| pair[0] != pair[1]), "{slots:?}");
        let same = super::slots(Balance::Weighted, &members(&[1000, 1000]), 1);
        assert_eq!(same.len(), 2);
        let uneven = shares(&super::slots(Balance::Weighted, &members(&[1000, 999, 998, 1]), 1));
        let counts: Vec<usize> = uneven.values().copied().collect();
        assert!(counts.iter().sum::<usize>() <= MOST_WEIGHTED as usize + 4, "{counts:?}");
        assert!(counts[0] >= counts[1] && counts[1] >= counts[2] && counts[3] == 1, "{counts:?}");
    }

    #[test]
    fn turns_begin_with_another_member_each_time() {
        let three = members(&[1, 1, 1]);
        let first: std::collections::BTreeSet<_> =
            (0..3).map(|generation| slots(Balance::RoundRobin, &three, generation)[0]).collect();
        assert_eq!(first.len(), 3);
        assert!(slots(Balance::RoundRobin, &[], 1).is_empty());
    }

    #[test]
    fn hashed_shares_are_even_and_few_slots_move() {
        for count in [1, 2, 3, 10, 100] {
            let before = slots(Balance::SourceHash, &members(&vec![1; count]), 1);
            let sizes = shares(&before);
            assert_eq!(sizes.len(), count);
            assert!(sizes.values().max().unwrap() - sizes.values().min().unwrap() <= 1, "{count}");
            let after = slots(Balance::SourceHash, &members(&vec![1; count + 1]), 2);
            if before.len() == after.len() {
                let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
                // The newcomer's own share, at most as much again, and two in a hundred.
                let most = 2 * before.len() / (count + 1) + before.len() / 50;
                assert!(moved <= most, "{count}: {moved} of {}", before.len());
            }
        }
        let (mut one, other) = (members(&[1, 1, 1]), members(&[1, 1, 1]));
        one.reverse();
        assert_eq!(slots(Balance::SourceHash, &one, 1), slots(Balance::SourceHash, &other, 9));
    }
}
