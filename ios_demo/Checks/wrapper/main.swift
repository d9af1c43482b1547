// Runs the Swift wrapper that rid-export writes on the golden vectors of the budget. Compiled
// beside a wrapper named RidSCoreML whose resolution is 16 pixels; see check.sh.
import Foundation

struct Case: Decodable {
    let name: String
    let levels: Int
    let strength: Double
    let image: [UInt8]
    let unit: [Double]
    let protected: [UInt8]
}

struct Document: Decodable {
    let apply_uint8: [Case]
}

let folder = ProcessInfo.processInfo.environment["RID_GOLDEN"] ?? "../tests/golden"
let data = try Data(contentsOf: URL(fileURLWithPath: folder).appendingPathComponent("budget.json"))
let cases = try JSONDecoder().decode(Document.self, from: data).apply_uint8
    .filter { $0.levels == RidSCoreML.levels }
let side = RidSCoreML.resolution
precondition(!cases.isEmpty && cases.allSatisfy { $0.image.count <= side }, "no vectors fit")

for item in cases {
    for order in [RidSCoreML.PixelOrder.bgra, .rgba] {
        var pixels = [UInt8](repeating: 200, count: 4 * side * side)
        var delta = [Float](repeating: 0, count: 3 * side * side)
        let red = order == .bgra ? 2 : 0
        for (column, level) in item.image.enumerated() {
            pixels[4 * column + red] = level
            delta[RidSCoreML.index(row: 0, column: column, channel: 0)] = Float(item.unit[column])
        }
        let result = try RidSCoreML.protect(
            pixels, order: order, delta: delta, strength: item.strength)
        for (column, level) in item.protected.enumerated() {
            pixels[4 * column + red] = level
        }
        precondition(result == pixels, "\(item.name), \(order)")
    }
}
print("\(cases.count) cases agree")
